"""The parsed form of a prediction request, common to both parsers."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from mlrf.core.feature import Value
from mlrf.engines.interface import Row
from mlrf.model.explanation_kinds import INTERACTIONS, Chosen, ExplanationKind, kind_name
from mlrf.serving.lookup.by_key import ByKey, OnStale

MAX_EXPLAINED = 1 << 31
"""Largest number of features that a request may want named in an explanation."""
MAX_INTERACTIONS = 1000
"""Largest number of pairs of features that a request may want named: each is a JSON object for each row."""


class Interactions(msgspec.Struct, frozen=True, gc=False):
    """An explanation of all features and of their interactions, of which it names the largest."""

    pairs: int


class Game(msgspec.Struct, frozen=True, gc=False):
    """An explanation whose contributions are Shapley values of another game than the path-dependent one."""

    top: bool | int = True
    """True for all features, or the number of those with the largest contributions."""
    chosen: Chosen = ()
    """Its options."""


ExplainOption = bool | int | Interactions | Game
"""Whether an explanation is requested: of all features, of the k with the largest contributions, or of another kind."""


def kind_of(explain: ExplainOption) -> ExplanationKind | None:
    """Return the kind of an explanation whose time differs from that of path-dependent contributions; None for those."""
    if isinstance(explain, Interactions):
        return INTERACTIONS
    return kind_name(explain.chosen) if isinstance(explain, Game) else None


class Details(msgspec.Struct, frozen=True, gc=False):
    """What a response says about its row in addition to prediction and explanation."""

    features: bool = False
    """Whether it repeats every feature by name."""
    defaults: Mapping[str, Value] | None = None
    """The defaults that were used for absent features, by name."""
    leaves: bool = False
    """The leaf reached in each tree."""
    base_margin: Sequence[float] | None = None
    """[K] where the margins start, in the place of the model's own base."""

    @property
    def needs_trees(self) -> bool:
        """Whether the trees must be walked apart from the prediction: never on the event loop's fast path."""
        return self.leaves or self.base_margin is not None


FEATURES = Details(features=True)
_NOTHING = Details()
ParsedRequest = tuple[Row | ByKey, ExplainOption, Details | None]
"""The row, or the key to look it up by; whether an explanation is requested; which details the response has."""


class PlainBatch(NamedTuple):
    """The rows of a batch whose instances have no options of their own."""

    table: array[float]
    """[n, F]"""
    explain: bool | int


ParsedBatch: TypeAlias = "list[ParsedRequest] | PlainBatch"


def in_batch(
    parsed: ParsedRequest,
    explain: ExplainOption,
    details: Details | None,
    max_age_s: float | None,
    on_stale: OnStale | None,
) -> ParsedRequest:
    """Return an instance's request with the batch options as defaults; of two maximum ages the lower applies."""
    row, its_explain, its_details = parsed
    if isinstance(row, ByKey) and (max_age_s is not None or on_stale is not None):
        ages = [age for age in (row.max_age_s, max_age_s) if age is not None]
        row = msgspec.structs.replace(row, max_age_s=min(ages, default=None), on_stale=row.on_stale or on_stale)
    return row, its_explain or explain, _joined(its_details, details)


def with_defaults(details: Details | None, defaults: Mapping[str, Value]) -> Details | None:
    """Return the details of a response whose row uses these defaults for absent features."""
    if not defaults:
        return details
    return msgspec.structs.replace(details or _NOTHING, defaults=defaults)


def _joined(own: Details | None, of_batch: Details | None) -> Details | None:
    if own is None or of_batch is None:
        return own or of_batch
    return msgspec.structs.replace(
        own, features=own.features or of_batch.features, leaves=own.leaves or of_batch.leaves
    )
