"""Rows that a model cannot answer: the job stops, or they are written to another file, or they get no answer."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from mlrf.core.errors import InvalidRequestError
from mlrf.scoring.input_files import InputFile
from mlrf.scoring.row_batches import Batch

OnBadRow = Literal["stop", "quarantine", "null"]
ON_BAD_ROW: tuple[OnBadRow, ...] = get_args(OnBadRow)


def located(error: InvalidRequestError, file: InputFile, row: int) -> InvalidRequestError:
    """Return an error of a row with the file and the row's number in it."""
    details = {name: value for name, value in error.details.items() if name != "row"}
    return type(error)(f"{file}: row {row}: {error}", row=row, **details)


def first_fault(batch: Batch, file: InputFile) -> InvalidRequestError:
    """Return the error of the first row of a batch that cannot be answered."""
    row = min(batch.faults)
    return located(batch.faults[row], file, batch.first_row + row)


def quarantined(batch: Batch, file: InputFile) -> Any:
    """Return the table of the rows that cannot be answered: where they are, what is wrong, and the rows as they were read."""
    rows = sorted(batch.faults)
    errors = [batch.faults[row] for row in rows]
    columns = {
        "_file": pa.array([str(file)] * len(rows), pa.string()),
        "_row": pa.array([batch.first_row + row for row in rows], pa.int64()),
        "_column": pa.array([_text(error.details.get("feature")) for error in errors], pa.string()),
        "_value": pa.array([_text(error.details.get("value")) for error in errors], pa.string()),
        "_reason": pa.array([str(error) for error in errors], pa.string()),
    }
    given = batch.given.take(pa.array(rows, pa.int64()))
    return pa.table(columns | {name: given[name] for name in given.column_names if name not in columns})


def without_faults(batch: Batch) -> tuple[Any, Any]:
    """Return the rows [n, F] that can be answered, and their kept columns."""
    answered = np.ones(len(batch.rows), np.bool_)
    answered[[*batch.faults]] = False
    return np.ascontiguousarray(batch.rows[answered]), batch.kept.filter(pa.array(answered))


def fault_texts(batch: Batch) -> list[tuple[int, str]]:
    """Return the rows that cannot be answered, with the reason of each."""
    return [(row, str(error)) for row, error in sorted(batch.faults.items())]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
