"""Golden rows, asked again of the engine that is to serve: the last word before a bundle goes into service."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mlrf.core.bundle import GOLDEN_ROWS
from mlrf.core.errors import BundleError
from mlrf.core.golden_rows import GoldenRows, read_golden_rows
from mlrf.engines.interface import Explainer
from mlrf.model.model import Model

_EXPLAINED_ROWS = 16
_ADDITIVITY_LIMIT = 1e-9


def replay(model: Model, golden_rows: Path | None = None) -> int:
    """Ask every golden row alone and all in a batch, explain some of them; return how many rows there were.

    `golden_rows` is the file to ask in the place of the one that stands where the bundle does.

    BundleError when a margin is not the training library's (within the manifest's `margin_limit`), when the batch
    differs from the rows alone, when contributions miss their margin, or when the bundle keeps no rows for a server.
    """
    bundle = model.bundle
    f, k = bundle.manifest.n_features, bundle.manifest.n_outputs
    if GOLDEN_ROWS not in bundle.manifest.files:
        raise BundleError(f"{bundle.path}: has no {GOLDEN_ROWS} to prove it by; build it again", file=GOLDEN_ROWS)
    golden = read_golden_rows(golden_rows or bundle.file(GOLDEN_ROWS), f, k)
    finite = [abs(m) for m in golden.margins if math.isfinite(m)]
    mean = sum(finite) / max(1, len(finite))
    together = model.engine.margins(golden.rows)
    for index in range(golden.n):
        expected = golden.margins[index * k : (index + 1) * k]
        alone = model.engine.margin(golden.rows[index * f : (index + 1) * f])
        limit = bundle.manifest.margin_limit
        if not all(_close(m, e, limit, mean) for m, e in zip(alone, expected, strict=True)):
            raise BundleError(
                f"{bundle.path}: golden row {index} is answered {alone} by {model.engine.name}, the training library said "
                f"{expected.tolist()}",
                file=GOLDEN_ROWS,
            )
        if not _same(alone, together[index * k : (index + 1) * k]):
            raise BundleError(
                f"{bundle.path}: golden row {index} is answered otherwise in a batch than alone", file=GOLDEN_ROWS
            )
    _explain(model, golden)
    return golden.n


def _explain(model: Model, golden: GoldenRows) -> None:
    engine = model.engine
    if not isinstance(engine, Explainer):
        return
    f, k = model.bundle.manifest.n_features, model.bundle.manifest.n_outputs
    for index in range(0, golden.n, max(1, golden.n // _EXPLAINED_ROWS)):
        row = golden.rows[index * f : (index + 1) * f]
        contributions, margins = engine.contributions(row), engine.margin(row)
        for output in range(k):
            parts = [engine.base[output], *contributions[output::k]]
            scale = max(1.0, *map(abs, parts), sum(map(abs, parts[1:])))
            # A margin that is not finite has no parts.
            if math.isfinite(margins[output]) and abs(math.fsum(parts) - margins[output]) > _ADDITIVITY_LIMIT * scale:
                raise BundleError(
                    f"{model.bundle.path}: the contributions of golden row {index} miss its margin", file=GOLDEN_ROWS
                )


def _close(got: float, expected: float, limit: float, mean: float) -> bool:
    if got == expected or (math.isnan(got) and math.isnan(expected)):
        return True
    return abs(got - expected) <= limit * max(abs(expected), mean)


def _same(left: Sequence[float], right: Sequence[float]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(left, right, strict=True))
