"""Reads the options of a request or of a whole batch: all members other than rows and keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlrf.core.errors import InvalidRequestError
from mlrf.core.leniency import Leniency
from mlrf.core.value_text import shown
from mlrf.model.explanation_kinds import GAME_OPTIONS
from mlrf.serving.lookup.by_key import OnStale
from mlrf.serving.native.json_scanner import value_of
from mlrf.serving.native.requests import (
    FEATURES,
    MAX_EXPLAINED,
    MAX_INTERACTIONS,
    Details,
    ExplainOption,
    Game,
    Interactions,
)

OPTION_NAMES = ("unknown_categories", "explain", "return_features", "max_feature_age", "stale_features", "leaves")
"""Of a request and of a batch."""
_GAME_NAMES = tuple(option.name for option in GAME_OPTIONS)
_GAME_FORMS = [f'{{"{name}": true}}' for name in _GAME_NAMES]
_FORMS = f'{{"interactions": k}}, {", ".join(_GAME_FORMS[:-1])} or {_GAME_FORMS[-1]}'
BASE_MARGIN_NAMES = ("base_margin", "init_score")
"""Of a request alone, for a base margin is its row's."""


class Options(msgspec.Struct, frozen=True):
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
        details=_details(members),
        max_age_s=_max_age_s(members),
        on_stale=_on_stale(members),
    )


def _leniency(members: Mapping[str, msgspec.Raw], leniency: Leniency) -> Leniency:
    raw = members.get("unknown_categories")
    if raw is None:
        return leniency
    chosen = value_of(raw, "unknown_categories")
    if chosen in ("missing", "as-library"):
        return msgspec.structs.replace(leniency, unknown_categories=chosen)
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
    if isinstance(chosen, int) and _is_count(chosen):
        return chosen
    if isinstance(chosen, dict) and list(chosen) == ["interactions"]:
        return Interactions(_pairs(chosen["interactions"]))
    if isinstance(chosen, dict) and chosen and chosen.keys() <= {*_GAME_NAMES, "top"}:
        return _game(chosen)
    raise InvalidRequestError(
        f"explain must be true, false, the number of features to name (1 or more), {_FORMS}, not {shown(chosen)}",
        field="explain",
    )


def _is_count(chosen: object) -> bool:
    return isinstance(chosen, int) and not isinstance(chosen, bool) and 1 <= chosen <= MAX_EXPLAINED


def _game(chosen: Mapping[str, Any]) -> ExplainOption:
    top = chosen.get("top", True)
    if top is not True and not _is_count(top):
        raise InvalidRequestError(
            f"top must be the number of features to name (1 or more), or true for all, not {shown(top)}",
            field="explain",
        )
    names = tuple(name for name in _GAME_NAMES if _is_chosen(chosen, name))
    return Game(top, names) if names else top


def _is_chosen(chosen: Mapping[str, Any], name: str) -> bool:
    value = chosen.get(name, False)
    if isinstance(value, bool):
        return value
    raise InvalidRequestError(f"{name} must be true or false, not {shown(value)}", field="explain")


def _pairs(chosen: object) -> int:
    if isinstance(chosen, int) and not isinstance(chosen, bool) and 1 <= chosen <= MAX_INTERACTIONS:
        return chosen
    raise InvalidRequestError(
        f"interactions must be the number of pairs of features to name, 1 to {MAX_INTERACTIONS}, not {shown(chosen)}",
        field="explain",
    )


def _details(members: Mapping[str, msgspec.Raw]) -> Details | None:
    features, leaves, start = _flag(members, "return_features"), _flag(members, "leaves"), _base_margin(members)
    if not leaves and start is None:
        return FEATURES if features else None
    return Details(features, leaves=leaves, base_margin=start)


def _flag(members: Mapping[str, msgspec.Raw], name: str) -> bool:
    raw = members.get(name)
    if raw is None:
        return False
    chosen = value_of(raw, name)
    if isinstance(chosen, bool):
        return chosen
    raise InvalidRequestError(f"{name} must be true or false, not {shown(chosen)}", field=name)


def _base_margin(members: Mapping[str, msgspec.Raw]) -> list[float] | None:
    given = [name for name in BASE_MARGIN_NAMES if name in members]
    if not given:
        return None
    if len(given) > 1:
        raise InvalidRequestError("base_margin and init_score are two names of one member; send one", field=given[1])
    chosen = value_of(members[given[0]], given[0])
    numbers = chosen if isinstance(chosen, list) else [chosen]
    if not numbers or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers):
        raise InvalidRequestError(
            f"{given[0]} must be a number, or an array of one for each output, not {shown(chosen)}", field=given[0]
        )
    try:
        return [float(each) for each in numbers]
    except OverflowError as error:
        raise InvalidRequestError(f"{given[0]} must be in the range of float64", field=given[0]) from error


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
