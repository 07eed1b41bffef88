"""Writes explanations as JSON documents: contributions by feature name, and the sum of those left out."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from mlrf import _kernel
from mlrf.core.feature import Category

_PATH_DEPENDENT: Mapping[str, Any] = MappingProxyType({})
"""An explanation that says nothing of its game has path-dependent values."""
Source = Literal["live", "precomputed"]
"""Whether contributions were computed for this request, or when the bundle was built."""


class ExplanationWriter:
    """Writes explanations of one model with the features `names`; `classes` if it has an output for each class.

    `game` are members that say which game the contributions are Shapley values of; none for the path-dependent one.
    """

    def __init__(
        self,
        names: Sequence[str],
        base: Sequence[float],
        classes: Sequence[Category] | None,
        game: Mapping[str, Any] = _PATH_DEPENDENT,
    ) -> None:
        self._base = array("d", base)
        labels = (classes or range(len(base))) if len(base) > 1 else ()
        members = "".join(f",{_text(name)}:{_text(value)}" for name, value in game.items())
        self._json = _kernel.ExplanationJson([_text(n) for n in names], [_text(str(c)) for c in labels], members)

    def write(
        self,
        margins: Sequence[float],
        contributions: Sequence[float],
        explain: bool | int,
        source: Source = "live",
        base: Sequence[float] | None = None,
    ) -> list[bytes]:
        """Return the explanations of n rows.

        `margins` [n, K]; `contributions` [n, F, K]; `explain` True for all features in schema order, or k for the k largest by
        magnitude, in descending order (for K > 1: largest in the class of the largest margin); `base` [K] for rows whose base
        is not the model's.
        """
        top = None if explain is True else explain
        of_rows = self._base if base is None else _doubles(base)
        return self._json.write(_doubles(margins), of_rows, _doubles(contributions), top, source)


def with_member(document: bytes, name: bytes, value: object) -> bytes:
    """Return a JSON object with one more member at its end."""
    return b'%b,"%b":%b}' % (document[:-1], name, msgspec.json.encode(value))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _doubles(values: Sequence[float]) -> array[float]:
    return values if isinstance(values, array) else array("d", values)
