"""Converts the distinct values of an encoded column once each: columns of strings have few of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import InvalidRequestError
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.row_values import at_row, number_of

Faults = dict[int, InvalidRequestError]
"""By row, what is wrong with its first invalid value in the order of the features."""


def encoded_column(column: Any) -> tuple[list[Any], npt.NDArray[Any]] | None:
    """Return the distinct values of a column of strings, and the index of each row's value.

    None if it is neither an Arrow column of strings nor a Categorical of pandas with at most as many categories as rows.
    """
    if hasattr(column, "cat") and hasattr(column, "iloc"):  # pandas: its index of a missing value is -1
        categories = column.cat.categories
        if len(categories) > len(column):
            return None
        codes = column.cat.codes.to_numpy()
        missing = codes < 0
        if missing.any():
            codes = np.where(missing, len(categories), codes.astype(np.int64))
        return [*categories.tolist(), None], codes
    kind = str(getattr(column, "type", ""))
    if not hasattr(column, "dictionary_encode") or not kind.startswith(("string", "large_string", "dictionary")):
        return None
    encoded = column if kind.startswith("dictionary") else column.dictionary_encode()
    if hasattr(encoded, "combine_chunks"):  # of several chunks
        if not encoded.num_chunks:
            return [], np.empty(0, np.int64)
        encoded = encoded.unify_dictionaries().combine_chunks()
    values = encoded.dictionary.to_pylist()
    indices = encoded.indices.fill_null(len(values)) if encoded.indices.null_count else encoded.indices
    return [*values, None], indices.to_numpy(zero_copy_only=False)


def numbers_of_codes(
    schema: Schema,
    index: int,
    values: Sequence[Any],
    codes: npt.NDArray[Any],
    leniency: Leniency,
    faults: Faults | None,
) -> npt.NDArray[np.float64]:
    """Return a feature's column [n]: the numbers of the values at these indices.

    The first invalid row raises InvalidRequestError; if `faults` is given, the errors of all of them are put there.
    """
    numbers = np.full(len(values), np.nan)
    errors: dict[int, InvalidRequestError] = {}
    for code, value in enumerate(values):
        try:
            numbers[code] = number_of(schema, index, value, leniency)
        except InvalidRequestError as error:
            errors[code] = error
    if errors:
        for row in np.flatnonzero(np.isin(codes, [*errors])).tolist():
            fault = errors[int(codes[row])]
            if faults is None:
                raise at_row(fault, row) from fault
            faults.setdefault(row, fault)
    return np.asarray(numbers[codes])
