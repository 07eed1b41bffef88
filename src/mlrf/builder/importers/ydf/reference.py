"""YDF's own predictions. Runs in a child process; the only module of mlrf that imports ydf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ydf

from mlrf.builder.importers.ydf_directory import KIND_HEADERS, split_files
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.forest import F64

_OUTPUT_LOGITS = b"\x48\x01"
"""The field `output_logits` of the header of boosted trees: its predictions are then the margins."""


def answer(
    model: Path,
    rows: F64,
    prediction_rows: F64,
    settings: Mapping[str, Any],
    threads: int,  # noqa: ARG001  ydf chooses its own
) -> tuple[F64, F64, str]:
    """Return the margins of `rows`, the predictions of `prediction_rows`, and ydf's version."""
    files = split_files(model.read_bytes())
    margins = _ask(files, rows, settings, adds=_OUTPUT_LOGITS)
    return margins, _ask(files, prediction_rows, settings, adds=b""), str(ydf.__version__)


def _ask(files: Mapping[str, bytes], rows: F64, settings: Mapping[str, Any], *, adds: bytes) -> F64:
    with temporary_folder("ydf") as folder:
        for name, content in files.items():
            # A later field of a message counts.
            (Path(folder) / name).write_bytes(content + (adds if name == KIND_HEADERS[0] else b""))
        loaded = ydf.load_model(str(folder))
        found = loaded.predict(_table(rows, settings))
    return np.asarray(found, np.float64).reshape(len(rows), settings["outputs"])


def _table(rows: F64, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return rows of numbers and codes by column, as ydf takes them."""
    table: dict[str, Any] = {}
    for index, (name, kind, categories) in enumerate(settings["columns"]):
        values = rows[:, index]
        if kind == "categorical":
            names = np.array([*categories, ""], dtype=object)
            table[name] = names[np.where(np.isnan(values), len(categories), values).astype(np.int64)].astype(str)
        elif kind == "boolean":
            # Rows at the thresholds have numbers besides 0 and 1, which the trees round to float32.
            table[name] = values.astype(np.float32) > 0.5  # noqa: PLR2004
        else:
            with np.errstate(over="ignore"):
                table[name] = values.astype(np.float32)
    return table
