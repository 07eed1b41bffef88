"""The options of a request: the members other than its row or key, of a body or of a whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from mlrf.core.errors import InvalidRequestError
from mlrf.core.leniency import Leniency
from mlrf.core.value_text import shown
from mlrf.serving.lookup.by_key import OnStale
from mlrf.serving.native.json_scanner import value_of
from mlrf.serving.native.requests import FEATURES, MAX_EXPLAINED, Details, ExplainOption

OPTION_NAMES = ("unknown_categories", "explain", "return_features", "max_feature_age", "stale_features")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a body."""

    leniency: Leniency
    explain: ExplainOption = False
    details: Details | None = None
    max_age_s: float | None = None
    on_stale: OnStale | None = None


def read_options(members: Mapping[str, msgspec.Raw], leniency: Leniency) -> Options:
    """Return the options among the members of a body or batch; InvalidRequestError names the one that is wrong."""
    return Options(
        leniency=_leniency(members, leniency),
        explain=_explain(members),
        details=FEATURES if _return_features(members) else None,
        max_age_s=_max_age_s(members),
        on_stale=_on_stale(members),
    )


def _leniency(members: Mapping[str, msgspec.Raw], leniency: Leniency) -> Leniency:
    raw = members.get("unknown_categories")
    if raw is None:
        return leniency
    chosen = value_of(raw, "unknown_categories")
    if chosen in ("missing", "as-library"):
        return replace(leniency, unknown_categories=chosen)
    if chosen == "refuse":
        return leniency
    raise InvalidRequestError(
        f'unknown_categories must be "refuse", "missing" or "as-library", not {shown(chosen)}',
        field="unknown_categories",
    )


def _explain(members: Mapping[str, msgspec.Raw]) -> ExplainOption:
    raw = members.get("explain")
    if raw is None:
        return False
    chosen = value_of(raw, "explain")
    if isinstance(chosen, bool):
        return chosen
    if isinstance(chosen, int) and 1 <= chosen <= MAX_EXPLAINED:
        return chosen
    raise InvalidRequestError(
        f"explain must be true, false, or the number of features to name (1 or more), not {shown(chosen)}",
        field="explain",
    )


def _return_features(members: Mapping[str, msgspec.Raw]) -> bool:
    raw = members.get("return_features")
    if raw is None:
        return False
    chosen = value_of(raw, "return_features")
    if isinstance(chosen, bool):
        return chosen
    raise InvalidRequestError(f"return_features must be true or false, not {shown(chosen)}", field="return_features")


def _max_age_s(members: Mapping[str, msgspec.Raw]) -> float | None:
    raw = members.get("max_feature_age")
    if raw is None:
        return None
    chosen = value_of(raw, "max_feature_age")
    if isinstance(chosen, int | float) and not isinstance(chosen, bool) and chosen > 0:
        return float(chosen)
    raise InvalidRequestError(
        f"max_feature_age must be a number of seconds above 0, not {shown(chosen)}", field="max_feature_age"
    )


def _on_stale(members: Mapping[str, msgspec.Raw]) -> OnStale | None:
    raw = members.get("stale_features")
    if raw is None:
        return None
    chosen = value_of(raw, "stale_features")
    if chosen == "refuse":
        return "refuse"
    if chosen == "flag":
        return "flag"
    raise InvalidRequestError(f'stale_features must be "refuse" or "flag", not {shown(chosen)}', field="stale_features")
