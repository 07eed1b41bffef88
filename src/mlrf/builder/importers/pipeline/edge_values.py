"""Raw values that golden rows must contain: categories, and the numbers next to each cut point or to the band around it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mlrf.builder.importers.imported_model import Band
from mlrf.core.forest import F64

_MAX_EDGES = 2_000
_EDGE_ULPS = 2
NO_CODE = -1.0
"""No category has a code below 0."""


def edge_values(
    points: Sequence[F64],
    categories: Sequence[Any],
    coded: Collection[int],
    bands: Mapping[int, Sequence[Band]],
) -> dict[int, tuple[float, ...]]:
    """Return the values by feature, given its codes or cut points, its categories or None, and the bands around its thresholds.

    The `coded` features have codes that the model itself splits by.
    """
    found: dict[int, tuple[float, ...]] = {}
    for feature, values in enumerate(points):
        if categories[feature] is not None:
            found[feature] = (*values.tolist()[:_MAX_EDGES], NO_CODE)
        elif feature not in coded:
            around = {band.cut: (band.low, band.high) for band in bands.get(feature, ())}
            spread = np.unique(np.linspace(0, len(values) - 1, _MAX_EDGES // 5).astype(np.int64))
            # The last point only represents all numbers beyond the others.
            found[feature] = tuple(
                moved
                for value in values[spread[spread < len(values) - 1]].tolist()
                for moved in _neighbours(value, around.get(value, (value, value)))
            )
    return found


def _neighbours(value: float, band: tuple[float, float]) -> list[float]:
    """Return a number and its neighbours, two on each side of the band around it."""
    found = [value] if band[0] == band[1] else [each for each in band if np.isfinite(each)]
    for start, toward in zip(band, (-np.inf, np.inf), strict=True):
        if not np.isfinite(start):
            continue
        moved = start
        for _ in range(_EDGE_ULPS):
            moved = float(np.nextafter(moved, toward))
            found.append(moved)
    return found
