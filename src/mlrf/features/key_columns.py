"""Encodes the key columns of whole tables to the same bytes as `EntityKey.encode` does for one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlrf.core.errors import RowsError
from mlrf.core.value_text import clip, shown
from mlrf.features.entity_key import MAX_KEY_BYTES, EntityKey, KeyField, KeyType, encode_value, expected_of

_DAY_US = 86_400_000_000
_EPOCH_ORDINAL = 719_163
_MAX_ORDINAL = 3_652_059
_UNITS_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": _DAY_US, "ns": 86_400_000_000_000}
_SIGN = np.uint64(1 << 63)
_MAX_INT64 = (1 << 63) - 1


def type_of_column(name: str, kind: pa.DataType) -> KeyType:
    """Return the key field type of a column's type; RowsError if there is none."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests: tuple[tuple[KeyType, tuple[Callable[[Any], bool], ...]], ...] = (
        (KeyType.STRING, (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)),
        (KeyType.INTEGER, (pa.types.is_integer,)),
        (KeyType.BOOLEAN, (pa.types.is_boolean,)),
        (KeyType.DATE, (pa.types.is_date, pa.types.is_timestamp)),
    )
    for found, fits in tests:
        if any(test(kind) for test in fits):
            return found
    raise RowsError(
        f"the key's column {name!r} contains {kind}; a key consists of strings, integers, dates or booleans: convert the "
        "column",
        column=name,
    )


def encode_keys(key: EntityKey, columns: dict[str, pa.Array], first_row: int) -> list[bytes]:
    """Return the key of each row; RowsError names the row, field and invalid value."""
    parts = [_field_bytes(field, columns[field.name], first_row) for field in key.fields]
    keys = parts[0] if len(parts) == 1 else list(map(b"".join, zip(*parts, strict=True)))
    longest = max(map(len, keys), default=0)
    if longest > MAX_KEY_BYTES:
        index = next(index for index, raw in enumerate(keys) if len(raw) > MAX_KEY_BYTES)
        raise RowsError(f"row {first_row + index}: the key is longer than {MAX_KEY_BYTES} bytes", row=first_row + index)
    return keys


def _field_bytes(field: KeyField, column: pa.Array, first_row: int) -> list[bytes]:
    if column.null_count:
        index = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        raise _refused(field, first_row + index, None)
    kind = column.type
    if field.type is KeyType.INTEGER and pa.types.is_integer(kind):
        numbers = column.to_numpy(zero_copy_only=False)
        if numbers.dtype == np.uint64 and len(numbers) and numbers.max() > _MAX_INT64:
            index = int(np.argmax(numbers > _MAX_INT64))
            raise _refused(field, first_row + index, int(numbers[index]))
        return _as_bytes((numbers.astype(np.int64).view(np.uint64) ^ _SIGN).astype(">u8"))
    if field.type is KeyType.BOOLEAN and pa.types.is_boolean(kind):
        return _as_bytes(column.cast(pa.uint8()).to_numpy(zero_copy_only=False))
    if field.type is KeyType.DATE and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return _date_bytes(field, column, first_row)
    return _distinct_bytes(field, column, first_row)


def _date_bytes(field: KeyField, column: pa.Array, first_row: int) -> list[bytes]:
    kind = column.type
    if pa.types.is_date32(kind):
        days = column.cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int64)
    else:
        unit = _UNITS_A_DAY["ms" if pa.types.is_date64(kind) else kind.unit]
        days, rest = np.divmod(column.cast(pa.int64()).to_numpy(zero_copy_only=False), unit)
        if rest.any():
            index = int(np.flatnonzero(rest)[0])
            raise RowsError(
                f"row {first_row + index}: the key's column {field.name!r} is a date, but contains {column[index]}, which is "
                "not midnight in UTC; remove the time, or convert it to a string",
                row=first_row + index,
                column=field.name,
            )
    ordinals = days + _EPOCH_ORDINAL
    outside = (ordinals < 1) | (ordinals > _MAX_ORDINAL)
    if outside.any():
        index = int(np.flatnonzero(outside)[0])
        raise RowsError(
            f"row {first_row + index}: the key's column {field.name!r} contains a date outside the years 1 to 9999",
            row=first_row + index,
            column=field.name,
        )
    return _as_bytes(ordinals.astype(">u4"))


def _distinct_bytes(field: KeyField, column: pa.Array, first_row: int) -> list[bytes]:
    """Encode each distinct value once, by the rule for a single value."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    known: list[bytes | None] = []
    values = encoded.dictionary.to_pylist()
    for value in values:
        try:
            known.append(encode_value(field.type, value))
        except ValueError:
            known.append(None)
    indices = encoded.indices.to_pylist()
    parts = [known[index] for index in indices]
    if None in parts:
        row = parts.index(None)
        raise _refused(field, first_row + row, values[indices[row]])
    return parts


def _refused(field: KeyField, row: int, value: Any) -> RowsError:
    is_plain = isinstance(value, str | int | float | bool)
    hint = (
        "a missing value"
        if value is None
        else shown(value)
        if is_plain
        else f"{type(value).__name__} {clip(str(value))}"
    )
    return RowsError(
        f"row {row}: the key's column {field.name!r} must be {expected_of(field.type)}, not {hint}",
        row=row,
        column=field.name,
    )


def _as_bytes(values: npt.NDArray[Any]) -> list[bytes]:
    return np.ascontiguousarray(values).view(f"V{values.dtype.itemsize}").tolist()  # type: ignore[no-any-return]
