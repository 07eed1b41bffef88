"""Converts one tensor's elements to a model's input: numbers, codes of categories, fields of a key."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Sequence
from typing import Any

from mlrf.core.column_rules import ColumnRule, ColumnRules
from mlrf.core.errors import InvalidRequestError, InvalidTensorError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip, shown, shown_name
from mlrf.features.entity_key import KeyType, expected_of
from mlrf.serving.oip.datatypes import BYTES, Buffer, Datatype, as_doubles, doubles_of, elements_of
from mlrf.serving.oip.messages import InputTensor
from mlrf.serving.runtime.thresholds import CONVERTED_VALUES

_INTEGER = lazy_pattern(r"-?[0-9]{1,19}")
_BOOLEANS = {"true": True, "false": False}


def number_column(tensor: InputTensor, datatype: Datatype) -> array[float]:
    """Return a tensor's elements as float64, missing as NaN; InvalidTensorError if they are not numbers of its datatype."""
    data = tensor.data
    if datatype.code == "d" and type(data) is list and len(data) <= CONVERTED_VALUES:
        try:
            return array("d", data)
        except (TypeError, OverflowError):
            pass  # a missing value, or one that is not a number
    if isinstance(data, Buffer) and datatype is not BYTES:
        _check_booleans(tensor, datatype, data)
        return doubles_of(data, datatype.code)
    are_objects = not isinstance(data, Buffer | array) and not datatype.is_float and datatype is not BYTES
    numbers = (_all_integers(tensor, datatype) if are_objects else None) or _numbers(tensor, datatype)
    if isinstance(numbers, array):
        return as_doubles(numbers)
    doubles = array("d")
    # In pieces, because one call for millions would keep the GIL.
    for start in range(0, len(numbers), CONVERTED_VALUES):
        piece: Sequence[Any] = numbers[start : start + CONVERTED_VALUES]
        try:
            doubles += array("d", piece)
        except TypeError:
            doubles += array("d", [math.nan if value is None else value for value in piece])
    return doubles


def category_column(
    schema: Schema, index: int, tensor: InputTensor, datatype: Datatype, leniency: Leniency
) -> array[float]:
    """Return the codes of a feature's categories from a tensor of category values."""
    feature = schema.features[index]
    texts = any(isinstance(category, str) for category in feature.categories or ())
    if datatype is not BYTES and texts and all(isinstance(c, str) for c in feature.categories or ()):
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)}: the feature's categories are strings, which {datatype.name} cannot represent; "
            "send BYTES, or codes in one tensor of all features",
            input=tensor.name,
            datatype=datatype.name,
        )
    values = _texts(tensor) if datatype is BYTES else _category_numbers(tensor, datatype)
    seen: dict[Any, float] = {}
    codes = array("d")
    for row, value in enumerate(values):
        # True and 1 are equal as dict keys, but are in tensors of different datatypes.
        code = seen.get(value)
        if code is None:
            try:
                code = seen[value] = schema.number(index, value, leniency)
            except InvalidRequestError as error:
                raise type(error)(
                    f"input {shown_name(tensor.name)}, row {row}: {error}",
                    **({"input": tensor.name, "index": row} | error.details),
                ) from error
        codes.append(code)
    return codes


def key_column(tensor: InputTensor, datatype: Datatype, kind: KeyType) -> Sequence[Any]:
    """Return the values of a key's field; a value may be given as text."""
    if datatype is not BYTES:
        fits = kind is KeyType.BOOLEAN if datatype.name == "BOOL" else kind is KeyType.INTEGER and not datatype.is_float
        if not fits:
            raise InvalidTensorError(
                f"input {shown_name(tensor.name)}: the field is {expected_of(kind)}, which {datatype.name} cannot represent; "
                "send BYTES",
                input=tensor.name,
                datatype=datatype.name,
            )
        numbers = _numbers(tensor, datatype)
        return [_boolean(number) for number in numbers] if kind is KeyType.BOOLEAN else list(numbers)
    texts = _texts(tensor)
    if kind is KeyType.INTEGER:
        return [int(text) if text is not None and _INTEGER.fullmatch(text) else text for text in texts]
    if kind is KeyType.BOOLEAN:
        return [text if text is None else _BOOLEANS.get(text, text) for text in texts]
    return texts


def _category_numbers(tensor: InputTensor, datatype: Datatype) -> Sequence[Any]:
    numbers = _numbers(tensor, datatype)
    if datatype.name == "BOOL":
        return [_boolean(number) for number in numbers]
    return [None if number is None or (datatype.is_float and math.isnan(number)) else number for number in numbers]


def _boolean(number: float | None) -> bool | None:
    return None if number is None else number == 1


def _numbers(tensor: InputTensor, datatype: Datatype) -> Sequence[float | None]:
    """Return a tensor's numbers in its datatype's range and precision, missing ones as NaN, or as None for integers."""
    data = tensor.data
    if datatype is BYTES:
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)} is BYTES, but its values are numbers; send it as FP64 or another numeric "
            "datatype",
            input=tensor.name,
            datatype=datatype.name,
        )
    if isinstance(data, Buffer):
        _check_booleans(tensor, datatype, data)
        return datatype.values_of(data)
    if isinstance(data, array) and data.typecode == datatype.code:
        return data
    if datatype.is_float:
        floats: array[float] = array(datatype.code)
        try:
            for start in range(0, len(data), CONVERTED_VALUES):
                part = [math.nan if value is None else value for value in data[start : start + CONVERTED_VALUES]]
                # `array` would turn a finite number beyond float32 into an infinity.
                floats.frombytes(struct.pack(f"<{len(part)}{datatype.code}", *part))
        except (TypeError, OverflowError, struct.error) as error:
            raise _beyond(tensor, datatype, next(v for v in data if not _is_number(v, datatype))) from error
        return floats
    for value in data:
        if value is not None and not (isinstance(value, int) and datatype.least <= value <= datatype.most):
            raise _beyond(tensor, datatype, value)
    return data


def _check_booleans(tensor: InputTensor, datatype: Datatype, data: Buffer) -> None:
    if datatype.name != "BOOL":
        return
    for start in range(0, len(data), CONVERTED_VALUES):
        if others := bytes(data[start : start + CONVERTED_VALUES]).translate(None, b"\0\1"):
            raise _beyond(tensor, datatype, others[0])


def _all_integers(tensor: InputTensor, datatype: Datatype) -> array[int] | None:
    """Return integers as an array; None if there are none, or one is missing, no integer or beyond 64 bits.

    InvalidTensorError for the first that is beyond the range of its datatype.

    A loop over a million of them took 50 ms, and the conversion of what it leaves to float64 another 30.
    """
    data = tensor.data
    integers = array("Q" if datatype.code == "Q" else "q")
    try:
        # In pieces, because one call for millions would keep the GIL.
        for start in range(0, len(data), CONVERTED_VALUES):
            integers += array(integers.typecode, data[start : start + CONVERTED_VALUES])
    except (TypeError, OverflowError):
        return None
    if datatype.code not in "qQ" and integers:
        rule = ColumnRule(datatype.least, datatype.most, may_miss=False)
        first = ColumnRules([rule]).first_outside(as_doubles(integers))
        if first is not None:
            raise _beyond(tensor, datatype, integers[first])
    return integers or None


def _is_number(value: Any, datatype: Datatype) -> bool:
    try:
        return value is None or bool(struct.pack("<" + datatype.code, value))
    except (TypeError, OverflowError, ValueError, struct.error):
        return False


def _texts(tensor: InputTensor) -> list[str | None]:
    data = tensor.data
    if isinstance(data, Buffer):
        read = elements_of(data, math.prod(tensor.shape))
        if read is None:
            raise InvalidTensorError(
                f"input {shown_name(tensor.name)}: its {len(data)} bytes are not {math.prod(tensor.shape)} elements of BYTES, "
                "each of which is a length of 4 bytes (little-endian) followed by that many bytes",
                input=tensor.name,
            )
        elements: Sequence[Any] = read
    else:
        elements = data
    texts: list[str | None] = []
    for row, element in enumerate(elements):
        if isinstance(element, bytes):
            try:
                texts.append(element.decode())
            except UnicodeDecodeError as error:
                raise InvalidTensorError(
                    f"input {shown_name(tensor.name)}, row {row}: the text is not UTF-8", input=tensor.name, index=row
                ) from error
        elif element is None or isinstance(element, str):
            texts.append(element)
        else:
            raise InvalidTensorError(
                f"input {shown_name(tensor.name)}, row {row}: BYTES are strings, not {shown(element)}",
                input=tensor.name,
                index=row,
            )
    return texts


def _beyond(tensor: InputTensor, datatype: Datatype, value: Any) -> InvalidTensorError:
    what = "true or false" if datatype.name == "BOOL" else f"a number of {datatype.name}"
    return InvalidTensorError(
        f"input {shown_name(tensor.name)}: {shown(value)} is not {what}; send another datatype",
        input=clip(tensor.name),
        datatype=datatype.name,
    )
