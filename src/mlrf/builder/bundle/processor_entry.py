"""The manifest's record of the processor on which a pipeline's thresholds were found."""

from __future__ import annotations

import importlib
import math
import platform
from collections.abc import Sequence

from mlrf.builder.importers.imported_model import Band, ImportedModel
from mlrf.builder.importers.pipeline.float_order import ordinal
from mlrf.core.manifest import BandEntry, ProcessorEntry


def processor_entry(model: ImportedModel) -> ProcessorEntry | None:
    """Return the record of this machine; None for a model whose library answers alike on every processor."""
    if not model.functions:
        return None
    return ProcessorEntry(
        functions=list(model.functions),
        machine=platform.machine(),
        cpu_features=_cpu_features(),
        libc=" ".join(platform.libc_ver()).strip(),
        bands=[_entry(model.features[feature].name, bands) for feature, bands in sorted(model.bands.items()) if bands],
    )


def _entry(name: str, bands: Sequence[Band]) -> BandEntry:
    ends = [
        (band.cut, end)
        for band in bands
        if math.isfinite(band.cut)
        for end in (band.low, band.high)
        if math.isfinite(end)
    ]
    return BandEntry(
        feature=name,
        thresholds=len(bands),
        ulps=max((abs(ordinal(end) - ordinal(cut)) for cut, end in ends), default=0),
        width=max((abs(end - cut) for cut, end in ends), default=0.0),
    )


def _cpu_features() -> list[str]:
    """Return the features of the processor that NumPy uses."""
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        has = found.__cpu_features__
        return [name for name in (*found.__cpu_baseline__, *found.__cpu_dispatch__) if has.get(name)]
    return []
