"""Which column of a table stands for which feature.

LightGBM writes an underscore for each blank in a column's name, so a model that was trained on `x y` knows a feature
`x_y`. A table with the column as it was trained on must still find it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlrf.core.errors import InvalidRequestError


def find_columns(features: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    """Return the place in `columns` of each feature that has one, by the feature's name.

    InvalidRequestError where two columns could be meant.
    """
    known = frozenset(features)
    found: dict[str, int] = {}
    for place, column in enumerate(columns):
        name = column if column in known else column.replace(" ", "_")
        if name not in known:
            continue
        if name in found:
            first = columns[found[name]]
            reason = f"two columns {name!r}" if first == column else f"the columns {first!r} and {column!r}"
            raise InvalidRequestError(
                f"there are {reason} for the feature {name!r}; keep the one that is meant", feature=name
            )
        found[name] = place
    return found
