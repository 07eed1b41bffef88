"""Operators that encode categories: OneHotEncoder and LabelEncoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlrf.builder.importers.onnx_steps.graph_step import (
    TEXT,
    Array,
    Operand,
    Operator,
    RawUses,
    Step,
    Tensor,
    is_nan,
    only_tensor,
    stepped,
)

_KEYS = ("keys_strings", "keys_int64s", "keys_floats", "keys_tensor")
_VALUES = {"values_strings": TEXT, "values_int64s": np.dtype(np.int64), "values_floats": np.dtype(np.float32)}
_DEFAULTS = {"values_strings": "default_string", "values_int64s": "default_int64", "values_floats": "default_float"}
_TABLE = 2


def _one_hot(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    listed = _listed(step)
    if len(found.columns) != 1 or found.rank > _TABLE:
        raise step.refusal("encodes several columns at once")
    if (found.dtype == TEXT) != isinstance(listed[0], str):
        raise step.refusal("lists categories of another type than its column")
    if len(set(listed)) != len(listed):
        raise step.refusal("lists a category twice")
    uses.encode(step, 0, found, 0, listed)
    if not step.get("zeros", 1):
        _close(step, found, uses)
    return [found.of([stepped(found.columns[0])] * len(listed), np.float32, rank=found.rank + 1)]


def _listed(step: Step) -> list[Any]:
    listed = step.get("cats_strings") or step.get("cats_int64s") or []
    if not listed:
        raise step.refusal("lists no categories")
    return list(listed)


def _ones(step: Step, arrays: list[Array]) -> list[Array]:
    listed = _listed(step)
    found = arrays[0].reshape(-1, 1) == np.array(listed, TEXT if isinstance(listed[0], str) else np.int64)
    if not step.get("zeros", 1) and not np.all(np.any(found, axis=1)):
        raise ValueError("OneHotEncoder does not list a value")
    return [found.astype(np.float32)]


def _label(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    keys, _, _, dtype = _mapping(step)
    if (found.dtype == TEXT) != isinstance(keys[0], str):
        raise step.refusal("lists keys of another type than its column")
    for index in range(len(found.columns)):
        uses.encode(step, 0, found, index, keys)
    if _default(step) is None:
        _close(step, found, uses)
    return [found.of([stepped(column) for column in found.columns], dtype)]


def _close(step: Step, found: Tensor, uses: RawUses) -> None:
    for column in found.columns:
        if column.is_raw or uses.is_text[column.raw]:
            uses.closed[column.raw] = step.operator


def _mapping(step: Step) -> tuple[list[Any], list[Any], str, np.dtype[Any]]:
    """Return the keys, their values, the attribute of the values, and the type of the result."""
    keys = next((list(step.get(name)) for name in _KEYS if step.get(name) is not None), [])
    name = next((name for name in _VALUES if step.get(name) is not None), "values_tensor")
    values = step.get(name)
    if not keys or values is None or len(keys) != len(values):
        raise step.refusal("does not list a value for each key")
    if name == "values_tensor":
        return [_scalar(key) for key in keys], values.tolist(), name, values.dtype
    return [_scalar(key) for key in keys], list(values), name, _VALUES[name]


def _scalar(key: Any) -> Any:
    return key.item() if hasattr(key, "item") else key


def _default(step: Step) -> Any:
    """Return the value of keys that are not listed; None if the file does not say it."""
    found = step.get("default_tensor")
    if found is not None:
        return found.reshape(-1).tolist()[0]
    _, _, name, _ = _mapping(step)
    return step.get(_DEFAULTS.get(name, ""))


def _labels(step: Step, arrays: list[Array]) -> list[Array]:
    keys, values, _, dtype = _mapping(step)
    default = _default(step)
    table = dict(reversed(list(zip(keys, values, strict=True))))
    nan = next((value for key, value in zip(keys, values, strict=True) if is_nan(key)), default)
    given = arrays[0].reshape(-1)
    distinct, indices = (given, np.arange(len(given))) if given.dtype == TEXT else np.unique(given, return_inverse=True)
    found = [nan if is_nan(key) else table.get(key, default) for key in distinct.tolist()]
    if any(value is None for value in found):
        raise ValueError("LabelEncoder does not list a value")
    result = np.empty(len(found), dtype)
    result[:] = found
    return [result[indices.reshape(-1)].reshape(arrays[0].shape if arrays[0].ndim == _TABLE else (-1,))]


CATEGORIES: dict[str, Operator] = {
    "OneHotEncoder": Operator(_one_hot, _ones),
    "LabelEncoder": Operator(_label, _labels),
}
