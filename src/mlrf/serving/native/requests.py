"""The parsed form of a prediction request, common to both parsers."""

from __future__ import annotations

import msgspec

from mlrf.engines.interface import Row
from mlrf.serving.lookup.by_key import ByKey, OnStale

MAX_EXPLAINED = 1 << 31
"""Largest number of features that an explanation may be asked to name."""
ExplainOption = bool | int
"""Whether an explanation is requested: of all features, or of the k with the largest contributions."""

ParsedRequest = tuple[Row | ByKey, ExplainOption, bool]
"""The row or the key to look it up by, whether an explanation is requested, and whether to return the features."""


def in_batch(
    parsed: ParsedRequest,
    explain: ExplainOption,
    return_features: bool,
    max_age_s: float | None,
    on_stale: OnStale | None,
) -> ParsedRequest:
    """Return an instance's request with the batch options as defaults; of two maximum ages the lower applies."""
    row, its_explain, its_return_features = parsed
    if isinstance(row, ByKey) and (max_age_s is not None or on_stale is not None):
        ages = [age for age in (row.max_age_s, max_age_s) if age is not None]
        row = msgspec.structs.replace(row, max_age_s=min(ages, default=None), on_stale=row.on_stale or on_stale)
    return row, its_explain or explain, its_return_features or return_features
