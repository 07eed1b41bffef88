"""Converts any kind of table to one of pandas, Polars or Arrow, from which columns are read."""

from __future__ import annotations

from typing import Any

from mlrf.core.errors import ConfigError, InvalidRequestError


def as_table(rows: Any) -> Any:
    """Return an object as a pandas, Polars or Arrow table; None if it is not a table.

    InvalidRequestError when it cannot be read, ConfigError when that needs pyarrow and it is not installed.
    """
    library, kind = type(rows).__module__.partition(".")[0], type(rows).__name__
    if _is_pandas(rows) or (library, kind) in (("polars", "DataFrame"), ("pyarrow", "Table")):
        return rows
    if _is_column(rows):
        raise InvalidRequestError(
            f"a {kind} is one column or one row, not a table; give a table, or a list of instances"
        )
    try:
        if (library, kind) == ("polars", "LazyFrame"):
            return rows.collect()
        if hasattr(rows, "__arrow_c_stream__"):
            return _pyarrow(kind).RecordBatchReader.from_stream(rows).read_all()
        if hasattr(rows, "__arrow_c_array__"):
            arrow = _pyarrow(kind)
            return arrow.Table.from_batches([arrow.record_batch(rows)])
        if hasattr(rows, "fetch_arrow_table"):  # DuckDB before it had a stream
            return rows.fetch_arrow_table()
    except ConfigError:
        raise
    except Exception as error:
        # Polars and DuckDB add their plan or the text of the query, over many lines.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InvalidRequestError(f"the rows cannot be read from the {kind}: {reason}") from error
    return None


def _is_pandas(rows: Any) -> bool:
    """Return whether an object is a pandas DataFrame or of a subclass."""
    return any(
        each.__module__.partition(".")[0] == "pandas" and each.__name__ == "DataFrame" for each in type(rows).__mro__
    )


def _is_column(rows: Any) -> bool:
    """Return whether an object is a column of pandas, Polars or Arrow, which exports a stream as a table does."""
    is_exported = hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__")
    has_type = hasattr(rows, "dtype") or hasattr(rows, "type")
    return is_exported and has_type and not (hasattr(rows, "columns") or hasattr(rows, "schema"))


def _pyarrow(kind: str) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415  only what is neither pandas nor Polars needs it
    except ImportError as error:
        raise ConfigError(f"reading rows from a {kind} needs pyarrow: pip install pyarrow ({error})") from error
    return pa
