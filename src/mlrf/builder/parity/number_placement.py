"""Moves numbers of golden rows to where the training library has an answer that is the same on every processor.

A number beyond the range of its feature becomes the range's end. A number in a band becomes the next one outside, on
its side of the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlrf.builder.importers.imported_model import Band
from mlrf.builder.parity.sparse_rows import SparseRows
from mlrf.core.forest import F64


class NumberPlacement:
    """The ranges and bands of a model's columns."""

    def __init__(self, ranges: Mapping[int, tuple[float, float]], bands: Mapping[int, Sequence[Band]]) -> None:
        self._ranges = ranges
        self._bands = {
            column: merged(each, *ranges.get(column, (-np.inf, np.inf))) for column, each in bands.items() if each
        }

    def rows(self, rows: SparseRows) -> SparseRows:
        """Return the rows with their numbers moved."""
        if not self._ranges and not self._bands:
            return rows
        whole, values = rows.whole.copy(), rows.values.copy()
        for column in self._ranges.keys() | self._bands.keys():
            whole[:, column] = self._moved(column, whole[:, column])
            here = rows.columns == column
            values[here] = self._moved(column, values[here])
        return replace(rows, whole=whole, values=values)

    def _moved(self, column: int, numbers: F64) -> F64:
        found = np.clip(numbers, *self._ranges.get(column, (-np.inf, np.inf)))
        if (bands := self._bands.get(column)) is None:
            return found
        at = np.searchsorted(bands[:, 0], found) - 1  # the last band that begins below the number
        low, cut, high = bands[np.maximum(at, 0)].T
        inside = (at >= 0) & (found > low) & (found <= high)
        up = np.nextafter(high, np.inf)
        is_left = (found <= cut) & np.isfinite(low) | ~np.isfinite(up)
        return np.where(inside, np.where(is_left, low, up), found)


def merged(bands: Sequence[Band], least: float, most: float) -> F64:
    """Return bands [n, 3] as low, threshold and high, without overlaps; infinite ends where no number is outside."""
    found: list[list[float]] = []
    for band in sorted(bands):
        low = band.low if band.low >= least else -np.inf
        high = band.high if band.high < most else np.inf
        if found and low < found[-1][2]:
            found[-1][2] = max(found[-1][2], high)
        else:
            found.append([low, band.cut, high])
    return np.array(found)
