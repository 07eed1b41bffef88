"""Converts answers to the table library of the rows: pandas, Polars, Arrow, otherwise NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlrf.client.tensors import Array


def like(rows: Any, name: str, values: Array, columns: Sequence[str]) -> Any:
    """Return values [n] or [n, K] as a series or a frame with K named columns, of the same library as `rows`.

    pandas keeps the index of `rows`. Libraries are recognised by their module, so that none is imported for this.
    """
    library = type(rows).__module__.partition(".")[0]
    if library == "pandas":
        return _pandas(rows, name, values, columns)
    if library == "polars":
        import polars as pl  # noqa: PLC0415  it made the rows

        if values.ndim == 1:
            return pl.Series(name, values)
        return pl.DataFrame({column: values[:, i] for i, column in enumerate(columns)})
    if library == "pyarrow":
        import pyarrow as pa  # noqa: PLC0415  it made the rows

        if values.ndim == 1:
            return pa.array(values)
        return pa.table({column: np.ascontiguousarray(values[:, i]) for i, column in enumerate(columns)})
    return values


def _pandas(rows: Any, name: str, values: Array, columns: Sequence[str]) -> Any:
    import pandas as pd  # noqa: PLC0415  it made the rows

    if values.ndim == 1:
        return pd.Series(values, index=rows.index, name=name)
    return pd.DataFrame(values, index=rows.index, columns=list(columns))
