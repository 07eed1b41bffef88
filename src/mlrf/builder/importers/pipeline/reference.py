"""Reference of a pipeline, run in a child process: its steps, then its model's library on the resulting matrix."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mlrf.builder.importers.pipeline.matrix import Preprocessing
from mlrf.builder.importers.pipeline.raw_table import table_of
from mlrf.builder.importers.pipeline.source import unpack_source
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.forest import F64


def answer(
    model: Path, rows: F64, prediction_rows: F64, settings: Mapping[str, Any], threads: int
) -> tuple[F64, F64, str]:
    """Return the margins of raw `rows`, the predictions of `prediction_rows`, and the version of the model's library.

    The settings: `table` (the raw columns), `width` (the number of the matrix's columns), and the model's own `answers`
    module and `model` settings.
    """
    steps, source = unpack_source(model.read_bytes())
    predict = import_module(settings["answers"]).answer
    preprocessing = Preprocessing(steps, table_of(settings["table"]), settings["width"], library="")
    with temporary_folder("pipeline") as folder:
        path = folder / "model"
        path.write_bytes(source)
        margins, version = [], ""
        for part in preprocessing.chunks(len(rows)):
            matrix = preprocessing.transform(rows[part])
            found, _, version = predict(path, matrix, matrix[:1], settings["model"], threads)
            margins.append(np.reshape(found, (matrix.shape[0], -1)))
        predictions = []
        for part in preprocessing.chunks(len(prediction_rows)):
            matrix = preprocessing.transform(prediction_rows[part])
            _, found, version = predict(path, matrix[:1], matrix, settings["model"], threads)
            predictions.append(np.reshape(found, (matrix.shape[0], -1)))
    return np.concatenate(margins), np.concatenate(predictions), version
