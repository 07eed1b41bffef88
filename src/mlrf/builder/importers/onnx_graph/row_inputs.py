"""Rows as inputs of a graph, built value by value: it shares no code with the engine that it checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from mlrf.core.forest import F64

Run = Callable[[list[str], dict[str, Any]], list[Any]]


def run_each(run: Run, rows: F64, settings: Mapping[str, Any]) -> tuple[F64, F64]:
    """Return a graph's outputs for each row alone: its numbers [n, C] and the index of its label [n, 1].

    NaN for a row that it refuses, and for those left when the `budget_s` of the settings is used up.
    """
    outputs = [settings["output"]] + ([settings["label"]] if settings["label"] else [])
    numbers, labels = [], []
    until = monotonic() + settings["budget_s"]
    refusal: Exception = TimeoutError("it took too long")
    for row in rows.tolist():
        answer: list[float] = []
        label = math.nan
        if monotonic() < until:
            try:
                found = run(outputs, _feed(row, settings))
                answer = _numbers(found[0], settings["keys"])
                label = _class_index(found[1], settings["classes"]) if len(found) > 1 else math.nan
            except Exception as error:  # noqa: BLE001  a graph may fail in any way
                refusal = error
        numbers.append(answer)
        labels.append(label)
    width = max(map(len, numbers), default=0)
    if not width:
        raise ValueError(f"it cannot answer any of {len(rows)} rows: {' '.join(str(refusal).split())}")
    whole = [answer if len(answer) == width else [math.nan] * width for answer in numbers]
    return np.array(whole, np.float64), np.array(labels, np.float64).reshape(-1, 1)


def _feed(row: Sequence[float], settings: Mapping[str, Any]) -> dict[str, Any]:
    feed, first = {}, 0
    for name, element, width, is_flat in settings["inputs"]:
        values = [
            _value(row[column], element, settings["categories"].get(str(column)))
            for column in range(first, first + width)
        ]
        first += width
        dtype = object if element == TensorProto.STRING else helper.tensor_dtype_to_np_dtype(element)
        with np.errstate(over="ignore"):
            feed[name] = np.array(values if is_flat else [values], dtype)
    return feed


def _value(x: float, element: int, categories: Sequence[Any] | None) -> Any:
    if categories is not None:
        return ("" if element == TensorProto.STRING else x) if math.isnan(x) else categories[int(x)]
    if element in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return x
    return x != 0.0 if element == TensorProto.BOOL else int(x)


def _numbers(found: Any, keys: Sequence[Any] | None) -> list[float]:
    if keys is None:
        return [float(x) for x in np.asarray(found).reshape(-1)]
    return [float(found[0][key]) for key in keys]


def _class_index(found: Any, classes: Sequence[Any] | None) -> float:
    label = np.asarray(found).reshape(-1)[0]
    label = label.item() if isinstance(label, np.generic) else label
    return float(classes.index(label)) if classes and label in classes else math.nan
