"""Compatibility of two bundles: whether the clients of one can use the other unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Category, Feature

_SHOWN = 5


def contract_changes(old: Bundle, new: Bundle) -> list[str]:
    """Return the incompatible changes from `old` to `new`, a sentence each; empty if clients of `old` can use `new` unchanged.

    Compared are the features, their order and kinds, whether values may be missing or left out, the categories and their codes
    (new ones may follow the old ones), the task, the classes, the number of outputs, whether it explains, and the key.
    """
    changes = _features(old, new)
    before, after = old.manifest, new.manifest
    for what in ("task", "classes", "n_outputs"):
        if getattr(before, what) != getattr(after, what):
            changes.append(f"{what} was {getattr(before, what)} and is {getattr(after, what)}")
    if before.graph is None and before.covers != "none" and after.graph is not None:
        changes.append("explanations are no longer available: the model is a graph of operators")
    if _key(old) != _key(new):
        changes.append(f"the key was {_key(old)} and is {_key(new)}")
    return changes


def _key(bundle: Bundle) -> str:
    rows = bundle.manifest.rows
    return "none" if rows is None else ", ".join(f"{field.name} ({field.type})" for field in rows.key)


def _features(old: Bundle, new: Bundle) -> list[str]:
    before = {f.name: f for f in old.schema.features}
    after = {f.name: f for f in new.schema.features}
    changes = [f"feature {name!r} is gone" for name in before if name not in after]
    changes += [f"feature {name!r} is new and required" for name in after if name not in before]
    if not changes and list(before) != list(after):
        changes.append("the features are in another order")
    for name, feature in before.items():
        if name in after:
            changes += _feature(feature, after[name])
    return changes


def _feature(old: Feature, new: Feature) -> list[str]:
    if old.kind is not new.kind:
        return [f"feature {old.name!r} was {old.kind.value} and is {new.kind.value}"]
    changes = []
    if old.optional and not new.optional:
        changes.append(f"feature {old.name!r} had a default and is required")
    if old.nullable and not new.nullable:
        changes.append(f"feature {old.name!r} may no longer be missing")
    if old.categories is not None and not _begins_with(new.categories, old.categories):
        changes.append(f"feature {old.name!r} has other categories: {_listed(old.categories, new.categories)}")
    elif old.categories is None and new.categories is not None:
        changes.append(f"feature {old.name!r} accepts only listed categories")
    return changes


def _begins_with(longer: Sequence[Category] | None, shorter: Sequence[Category]) -> bool:
    return longer is not None and _typed(longer[: len(shorter)]) == _typed(shorter)


def _typed(categories: Sequence[Category]) -> list[tuple[bool, Category]]:
    return [(isinstance(c, bool), c) for c in categories]


def _listed(old: Sequence[Category], new: Sequence[Category] | None) -> str:
    if new is None:
        return "it no longer has a list"
    gone = [c for c in old if c not in new]
    if not gone:
        return "their codes have changed"
    shown = ", ".join(map(repr, gone[:_SHOWN]))
    return f"{shown}{' and more are' if len(gone) > _SHOWN else ' is' if len(gone) == 1 else ' are'} gone"
