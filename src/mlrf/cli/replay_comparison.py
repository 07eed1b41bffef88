"""Compares logged answers with those of today, and says which contributions moved."""

from __future__ import annotations

from typing import Any

import msgspec

_OF_THE_MOMENT = frozenset(
    {"cached", "features_as_of", "features_stale", "model", "version", "model_name", "model_version", "parameters"}
)
"""Members of an answer that say where it comes from, and not what the model predicts."""
_CLOSE = 1e-12
"""Contributions of one row, and of the same row in a batch or precomputed, agree to this share of the largest."""
_MOVED = 5


def comparable(answer: bytes | msgspec.Raw) -> Any:
    """Return the members of an answer that the model determines."""
    document = msgspec.json.decode(answer)
    if not isinstance(document, dict):
        return document
    return {name: value for name, value in document.items() if name not in _OF_THE_MOMENT}


def is_equal(one: Any, other: Any) -> bool:
    """Return whether two documents are equal to the bit; explanations agree to 1e-12 of their largest contribution."""
    if isinstance(one, dict) and isinstance(other, dict):
        if "contributions" in one and "contributions" in other:
            return _is_close({**one, "source": ""}, {**other, "source": ""}, _scale(one["contributions"]))
        return one.keys() == other.keys() and all(is_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_equal, one, other))
    # As text, in which a float's digits are exact and -0.0 is not 0.0.
    return type(one) is type(other) and repr(one) == repr(other)


def different_members(before: Any, now: Any) -> dict[str, list[Any]]:
    """Return the members that differ, as [before, now]."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return {"answer": [before, now]}
    return {
        name: [before.get(name), now.get(name)]
        for name in dict.fromkeys([*before, *now])
        if not is_equal(before.get(name), now.get(name))
    }


def moved_most(features: dict[str, Any], before: Any, now: Any) -> list[dict[str, Any]]:
    """Return the features whose contributions moved most, with value, contribution before (None: unknown) and now."""
    old, new = (_by_feature(each) for each in (before or {}, now))
    names = sorted(new, key=lambda name: -_distance(old.get(name), new[name]))
    return [
        {"feature": name, "value": features.get(name), "before": old.get(name), "now": new[name]}
        for name in names[:_MOVED]
    ]


def _by_feature(contributions: dict[str, Any]) -> dict[str, Any]:
    """Return contributions by feature: numbers, or by class where there are several outputs."""
    if not any(isinstance(each, dict) for each in contributions.values()):
        return contributions
    found: dict[str, Any] = {}
    for label, each in contributions.items():
        for name, value in each.items():
            found.setdefault(name, {})[label] = value
    return found


def _distance(before: Any, now: Any) -> float:
    if isinstance(now, dict):
        return max(_distance((before or {}).get(label), value) for label, value in now.items())
    return abs(float(now) - float(before or 0.0))


def _scale(contributions: Any) -> float:
    if isinstance(contributions, dict):
        return max(map(_scale, contributions.values()), default=0.0)
    return abs(float(contributions))


def _is_close(one: Any, other: Any, scale: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_close(one[name], other[name], scale) for name in one)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _CLOSE * max(1.0, scale)
    return is_equal(one, other)
