"""The document of an XGBoost model, JSON or UBJSON, and typed access to its members."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.builder.importers.xgboost.ubjson import read_ubjson
from mlrf.core.errors import ModelUnreadableError

_UBJSON_LENGTHS = (b"i", b"U", b"I", b"l", b"L")
"""Markers of the length of a UBJSON key."""
_SHOWN_CHARS = 40
_HEAD_BYTES = 256


def is_document(content: bytes) -> bool:
    """Whether a file starts like an XGBoost model: an object whose members are the learner and the version."""
    start = content[:_HEAD_BYTES]
    if start[:1] != b"{":
        return False
    if start[1:2] in _UBJSON_LENGTHS:
        return b"learner" in start
    return start[1:].lstrip().startswith((b'"learner"', b'"version"')) and b'"learner"' in start


def read_document(content: bytes) -> Member:
    """Return the learner; ModelUnreadableError if the document is damaged or has no learner."""
    if content[1:2] in _UBJSON_LENGTHS:
        document = read_ubjson(content)
    else:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ModelUnreadableError(
                f"the XGBoost model file is cut off or damaged: it is not JSON: {error}"
            ) from error
    return Member(document, "the model").member("learner")


class Member:
    """An object of the document; errors name the path to the invalid member."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise ModelUnreadableError(f"the XGBoost model file is damaged: {where} is not an object")
        self._members = value
        self.where = where

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def error(self, key: str, reason: str) -> ModelUnreadableError:
        """Return the error that says what is wrong with a member."""
        return ModelUnreadableError(f"the XGBoost model file is damaged: {key} of {self.where} {reason}")

    def member(self, key: str) -> Member:
        """Return an object."""
        return Member(self._get(key), f"{key} of {self.where}" if self.where != "the model" else key)

    def members(self, key: str) -> list[Member]:
        """Return a list of objects."""
        return [Member(value, f"{key} {index}") for index, value in enumerate(self.items(key))]

    def items(self, key: str) -> list[Any]:
        """Return a list of any values."""
        value = self._get(key)
        if isinstance(value, np.ndarray):
            return list(value.tolist())
        if not isinstance(value, list):
            raise self.error(key, "is not a list")
        return value

    def text(self, key: str) -> str:
        """Return a string."""
        value = self._get(key)
        if not isinstance(value, str):
            raise self.error(key, "is not text")
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of strings, empty if there is no such member."""
        values = self.items(key) if key in self else []
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "is not a list of text")
        return values

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer, which XGBoost writes as text."""
        if default is not None and key not in self:
            return default
        value = self._get(key)
        try:
            return int(value) if isinstance(value, str | int) else int("")
        except ValueError as error:
            raise self.error(key, f"is not an integer: {str(value)[:_SHOWN_CHARS]!r}") from error

    def integers(self, key: str, count: int | None = None) -> npt.NDArray[np.int64]:
        """Return an array of `count` integers, empty if there is no such member."""
        found = self._array(key, count)
        if found.dtype.kind not in "iub" and found.size:
            raise self.error(key, "contains a value that is not an integer")
        return found.astype(np.int64)

    def floats(self, key: str, count: int | None = None) -> npt.NDArray[np.float32]:
        """Return an array of `count` numbers as float32, NaN and infinities included."""
        found = self._array(key, count)
        if found.dtype.kind not in "iubf" and found.size:
            raise self.error(key, "contains a value that is not a number")
        with np.errstate(over="ignore"):
            return found.astype(np.float32)

    def _array(self, key: str, count: int | None) -> npt.NDArray[Any]:
        try:
            found = np.asarray(self._get(key))
        except (ValueError, OverflowError) as error:
            raise self.error(key, "is not a list of numbers") from error
        if found.ndim != 1 or (count is not None and len(found) != count):
            raise self.error(key, f"is not a list of {'' if count is None else f'{count} '}numbers")
        return found

    def _get(self, key: str) -> Any:
        if key not in self._members:
            raise ModelUnreadableError(f"the XGBoost model file is damaged: {self.where} has no {key}")
        return self._members[key]
