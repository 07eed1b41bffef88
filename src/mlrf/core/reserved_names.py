"""Words that are members of requests, now or later: an object that holds one is a request, never a bare row.

A feature may have such a name. Its rows are then sent as `{"features": {…}}`, which says what they are.
"""

from __future__ import annotations

from collections.abc import Iterable

RESERVED_NAMES = frozenset(
    (
        "features", "key", "overrides",
        "unknown_categories", "explain", "return_features", "max_feature_age", "stale_features", "vary",
        "leaves", "base_margin", "init_score",
        "instances", "inputs", "columns", "index", "data", "dataframe_split", "dataframe_records",
        # Kept for later.
        "defaults", "options", "parameters", "params", "rows", "signature_name",
    )
)  # fmt: skip


def reserved_among(names: Iterable[str]) -> list[str]:
    """Return the names that are reserved words, in their order."""
    return [name for name in names if name in RESERVED_NAMES]
