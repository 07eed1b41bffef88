"""Matching of a table's columns to features by name.

LightGBM writes an underscore for each blank in a column's name, so a model trained on `x y` has a feature `x_y`.
A table with the original column name must still match.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlrf.core.errors import InvalidRequestError


def find_columns(features: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    """Return the index in `columns` of each feature that has a column, by feature name.

    InvalidRequestError when two columns match one feature.
    """
    known = frozenset(features)
    found: dict[str, int] = {}
    for index, column in enumerate(columns):
        name = column if column in known else column.replace(" ", "_")
        if name not in known:
            continue
        if name in found:
            first = columns[found[name]]
            reason = f"two columns {name!r}" if first == column else f"the columns {first!r} and {column!r}"
            raise InvalidRequestError(f"there are {reason} for the feature {name!r}; keep one of them", feature=name)
        found[name] = index
    return found
