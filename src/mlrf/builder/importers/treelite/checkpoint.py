"""Reads a treelite checkpoint of version 4: scalars and arrays in the order of treelite's `serializer.cc`, little-endian.

1. An array is its length (u64) and its elements, without padding; a string is an array of bytes.
2. Each of three extension slots is a count (i32) of optional fields, 0 in all versions so far.
3. Every length is compared with the bytes that are left before anything is allocated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

_FLOAT_TYPES: dict[int, np.dtype[Any]] = {2: np.dtype("<f4"), 3: np.dtype("<f8")}
"""treelite's numbers of types; 1 is uint32, the output of models that treelite 3 could hold."""
_TASKS = ("binary", "regression", "multiclass", "ranking", "isolation")
_MAJOR = 4
_BYTES = np.dtype("u1")
_I32, _U32, _U64, _F64 = np.dtype("<i4"), np.dtype("<u4"), np.dtype("<u8"), np.dtype("<f8")
Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Nodes:
    """One tree of n nodes."""

    node_type: Numbers
    """[n] 0 a leaf, 1 a numeric test, 2 a test of a category."""
    left: Numbers
    right: Numbers
    feature: Numbers
    default_left: Numbers
    leaf_value: Numbers
    threshold: Numbers
    operator: Numbers
    """[n] 0 none, 1 ==, 2 <, 3 <=, 4 >, 5 >=."""
    list_goes_right: Numbers
    """[n] whether a category in a node's list goes right."""
    vectors: Numbers
    vector_begin: Numbers
    vector_end: Numbers
    categories: Numbers
    categories_begin: Numbers
    categories_end: Numbers
    data_count: Numbers | None
    """[n] None where the file lacks one."""
    sum_hess: Numbers | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model as its file has it."""

    version: str
    precision: np.dtype[Any]
    n_features: int
    task: str
    averages: bool
    n_targets: int
    n_classes: Numbers
    """[targets]"""
    leaf_shape: Numbers
    target: Numbers
    """[trees] -1: each target"""
    class_: Numbers
    """[trees] -1: each class"""
    postprocessor: str
    sigmoid_alpha: float
    base_scores: Numbers
    """[targets x most classes]"""
    trees: list[Nodes]


def read_checkpoint(content: bytes) -> Checkpoint:
    """Return the model in a file; ModelUnreadableError if it is damaged, UnsupportedModelError for one of another version."""
    file = _File(content)
    major, minor, patch = file.integer("<i"), file.integer("<i"), file.integer("<i")
    if major != _MAJOR:
        raise UnsupportedModelError(
            f"the treelite checkpoint was written by treelite {major}.{minor}.{patch}; mlrf reads those of treelite 4: load it "
            "with treelite 4 and serialize it again"
        )
    threshold_type, leaf_type = file.integer("<B"), file.integer("<B")
    if threshold_type not in _FLOAT_TYPES or threshold_type != leaf_type:
        raise UnsupportedModelError(
            f"the treelite checkpoint has thresholds and leaves of the types {threshold_type} and {leaf_type}; mlrf reads "
            "those whose types are both float32 or both float64"
        )
    precision = _FLOAT_TYPES[threshold_type]
    n_trees = file.integer("<Q")
    n_features, task = file.integer("<i"), file.integer("<B")
    if task >= len(_TASKS):
        raise file.error(f"its task is {task}")
    averages, n_targets = file.integer("<B") != 0, file.integer("<i")
    n_classes, leaf_shape, target, class_ = (file.array(_I32) for _ in range(4))
    postprocessor = file.text()
    sigmoid_alpha, _ratio = file.number("<f"), file.number("<f")
    base_scores = file.array(_F64)
    file.text()
    file.refuse_optional_fields()
    if n_trees > len(content):
        raise file.error(f"it announces {n_trees} trees")
    trees = [_read_tree(file, precision) for _ in range(n_trees)]
    if file.left:
        raise file.error(f"{file.left} bytes follow its last tree")
    if len(target) != n_trees or len(class_) != n_trees:
        raise file.error("it does not name the output of each tree")
    return Checkpoint(
        f"{major}.{minor}.{patch}", precision, n_features, _TASKS[task], averages, n_targets, n_classes, leaf_shape, target,
        class_, postprocessor, sigmoid_alpha, base_scores, trees,
    )  # fmt: skip


def _read_tree(file: _File, precision: np.dtype[Any]) -> Nodes:
    n = file.integer("<i")
    file.integer("<B")  # whether it tests a category; the nodes say so too
    node_type, left, right, feature, default_left = (file.array(kind, n) for kind in (_BYTES, _I32, _I32, _I32, _BYTES))
    leaf_value, threshold, operator, goes_right = (
        file.array(kind, n) for kind in (precision, precision, _BYTES, _BYTES)
    )
    vectors, begin, end = file.array(precision), file.array(_U64, n), file.array(_U64, n)
    categories, categories_begin, categories_end = file.array(_U32), file.array(_U64, n), file.array(_U64, n)
    data_count, sum_hess, _gain = (_statistic(file, kind, n) for kind in (_U64, _F64, _F64))
    file.refuse_optional_fields()
    file.refuse_optional_fields()
    return Nodes(
        node_type, left, right, feature, default_left, leaf_value, threshold, operator, goes_right, vectors, begin, end,
        categories, categories_begin, categories_end, data_count, sum_hess,
    )  # fmt: skip


def _statistic(file: _File, kind: np.dtype[Any], n: int) -> Numbers | None:
    """Return a number for each node, None if some have none: the arrays may be empty, or lack nodes."""
    values, present = file.array(kind), file.array(_BYTES)
    return values if len(values) == n == len(present) and bool(np.all(present)) else None


class _File:
    """A file and how far it is read."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that are not read."""
        return len(self._content) - self._at

    def error(self, reason: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"the treelite checkpoint is cut off or damaged: {reason}")

    def integer(self, form: str) -> int:
        return int(self.number(form))

    def number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def array(self, kind: np.dtype[Any], count: int | None = None) -> Numbers:
        """Return an array, of `count` elements where that is known."""
        n = self.integer("<Q")
        if n > self.left // kind.itemsize:
            raise self.error(f"an array of {n} elements does not fit its {self.left} bytes")
        if count is not None and n != count:
            raise self.error(f"an array has {n} elements for {count} nodes")
        return np.frombuffer(self._take(n * kind.itemsize), kind)

    def text(self) -> str:
        try:
            return self.array(_BYTES).tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error("a text is not UTF-8") from error

    def refuse_optional_fields(self) -> None:
        """Refuse the extension slots that no treelite up to 4.8 fills."""
        n = self.integer("<i")
        if n:
            raise UnsupportedModelError(
                f"the treelite checkpoint has {n} optional fields, which mlrf does not know; a later treelite wrote it, or it "
                "is damaged"
            )

    def _take(self, n: int) -> memoryview:
        if n > self.left:
            raise self.error("it ends early")
        self._at += n
        return self._content[self._at - n : self._at]
