"""Words that are members of requests, or are reserved for later: an object with one of them is a request, never a bare row.

A feature may have such a name, but its rows must then be sent as `{"features": {…}}`.
"""

from __future__ import annotations

from collections.abc import Iterable

RESERVED_NAMES = frozenset(
    (
        "features", "key", "overrides",
        "unknown_categories", "explain", "return_features", "max_feature_age", "stale_features", "vary",
        "leaves", "base_margin", "init_score",
        "instances", "inputs", "columns", "index", "data", "dataframe_split", "dataframe_records",
        # Reserved for later.
        "defaults", "options", "parameters", "params", "rows", "signature_name",
    )
)  # fmt: skip


def reserved_among(names: Iterable[str]) -> list[str]:
    """Return the names that are reserved words, in their order."""
    return [name for name in names if name in RESERVED_NAMES]
