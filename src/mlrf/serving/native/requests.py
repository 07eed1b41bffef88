"""What a body asks of a model, whichever way it was read."""

from __future__ import annotations

import msgspec

from mlrf.engines.interface import Row
from mlrf.serving.lookup.by_key import ByKey, OnStale

ExplainOption = bool | int
"""Whether an explanation is asked: of all features, or of the k that weigh most."""

ParsedRequest = tuple[Row | ByKey, ExplainOption, bool]
"""The row or where it is to be found, whether reasons are asked, and whether the features are to be returned."""


def in_batch(
    parsed: ParsedRequest,
    explain: ExplainOption,
    return_features: bool,
    max_age_s: float | None,
    on_stale: OnStale | None,
) -> ParsedRequest:
    """Return what an instance asks once the batch's options are counted; its own come first, of two ages the lower."""
    row, its_explain, its_return_features = parsed
    if isinstance(row, ByKey) and (max_age_s is not None or on_stale is not None):
        ages = [age for age in (row.max_age_s, max_age_s) if age is not None]
        row = msgspec.structs.replace(row, max_age_s=min(ages, default=None), on_stale=row.on_stale or on_stale)
    return row, its_explain or explain, its_return_features or return_features
