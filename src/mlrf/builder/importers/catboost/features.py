"""The features of a CatBoost model, and the codes of its categories.

A model contains hashes of its categories, not the categories. Their names come from the caller's list or sample. If small
integers have all the hashes of a feature, the categories are those integers.

1. A hash that the model splits by (one-hot) must have a name; otherwise a row with that category would get another one's
   answer.
2. A hash in a CTR table may lack a name: the category is then answered by its hash, which is not proven.
3. A feature that occurs only in combinations, or in no split, has no hashes: every category is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.catboost.ctr import Ctr, single_hashes
from mlrf.builder.importers.catboost.document import NO_COLUMN, Column, Document
from mlrf.builder.importers.imported_model import CategoryNames
from mlrf.core.category_hash import category_hash, category_text
from mlrf.core.errors import ModelUnreadableError, SampleError
from mlrf.core.feature import Category, CategoryHashing, Feature, Kind

_MAX_COLUMNS = 1_000_000
_TRIED_INTEGERS = 1 << 16
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Columns:
    """The model's features in the order of its columns, and the codes of their categories."""

    features: tuple[Feature, ...]
    codes: dict[tuple[int, int], tuple[int, ...]]
    """By column and by hash in its splits: the codes with that hash, ascending."""
    hashes: dict[int, list[int]]
    """By column whose category lists are hashed: the hash of each code."""
    notes: tuple[str, ...]
    """Notes about the names, one sentence each."""


@dataclass(slots=True)
class _Use:
    """How a model uses a categorical feature."""

    split: set[int] = field(default_factory=set)
    """Hashes in its splits."""
    tabled: set[int] = field(default_factory=set)
    """Hashes in CTR tables of this feature only."""
    in_tables: bool = False
    """Whether a CTR table depends on it."""


def used_ctrs(document: Document) -> list[Ctr]:
    """Return the CTR features that occur in splits, in the order of the splits."""
    used = sorted({index for tree in document.trees for index in set(tree.split[tree.split >= 0].tolist())})
    ctrs = (document.splits[index].ctr for index in used)
    return list(dict.fromkeys(ctr for ctr in ctrs if ctr is not None))


def read_columns(document: Document, names: CategoryNames) -> Columns:
    """Return the columns; SampleError if a feature's categories are needed but not given, or wrong ones are given."""
    by_index = _columns_by_index(document)
    uses = _uses(document, by_index)
    feature_names = [by_index[index].name or str(index) for index in range(len(by_index))]
    if len(set(feature_names)) != len(feature_names):
        raise ModelUnreadableError("two features of the model have the same name")
    check_category_names(names.lists, feature_names)
    features: list[Feature] = []
    codes: dict[tuple[int, int], tuple[int, ...]] = {}
    hashes: dict[int, list[int]] = {}
    notes: list[str] = []
    for index, name in enumerate(feature_names):
        if not by_index[index].is_category:
            if name in names.lists:
                raise SampleError(
                    f"feature {name!r}: the model uses it as a number, so it has no categories; leave its list out",
                    feature=name,
                )
            features.append(Feature(name, example=0.0))
            continue
        use = uses[index]
        listed = names.of(name)
        if listed is None and (use.split or use.in_tables):
            integers = _small_integers(name, use)
            if not use.in_tables:
                # Integers that are split one by one are codes themselves.
                features.append(Feature(name, Kind.CATEGORICAL, nullable=False, example=min(integers, default=0)))
                codes |= {(index, category_hash(str(integer))): (integer,) for integer in integers}
                continue
            listed = list(integers)
        own, feature = _listed(name, listed or [], use)
        features.append(feature)
        hashes[index] = own
        found: dict[int, list[int]] = {}
        for code, hashed in enumerate(own):
            found.setdefault(hashed, []).append(code)
        codes |= {(index, hashed): tuple(found[hashed]) for hashed in use.split}
        notes += _notes(name, listed or [], own, use)
    return Columns(tuple(features), codes, hashes, tuple(notes))


def _uses(document: Document, by_index: Sequence[Column]) -> dict[int, _Use]:
    uses = {index: _Use() for index, column in enumerate(by_index) if column.is_category}
    for tree in document.trees:
        for index in set(tree.split[tree.split >= 0].tolist()):
            split = document.splits[index]
            if split.category is not None and split.column != NO_COLUMN:
                uses[split.column].split.add(split.category)
    for ctr in used_ctrs(document):
        combination = ctr.table.combination
        for index in combination.categories:
            uses[index].in_tables = True
        for index, hashed in combination.equals:
            uses[index].split.add(hashed)
            uses[index].in_tables = True
        if len(combination.categories) == 1 and not combination.above and not combination.equals:
            (index,) = combination.categories
            table = document.ctr_tables.get(ctr.table)
            keys = np.zeros(0, np.uint64) if table is None else table.keys
            uses[index].tabled |= set(single_hashes(keys))
    return uses


def _small_integers(name: str, use: _Use) -> list[int]:
    """Return the integers, ascending, whose hashes are those of a feature; SampleError if there are none."""
    known = use.split | use.tabled
    integers = [_integers().get(hashed) for hashed in known]
    found = sorted(integer for integer in integers if integer is not None)
    if len(found) < len(known) or not known:
        raise SampleError(
            f"feature {name!r} is categorical, and the model keeps only hashes of its categories: name them with --categories, "
            "or give rows that contain them with --sample",
            feature=name,
        )
    return found


@cache
def _integers() -> dict[int, int]:
    """Return the small integers by their hash."""
    return {category_hash(str(integer)): integer for integer in range(_TRIED_INTEGERS)}


def _listed(name: str, listed: Sequence[Category], use: _Use) -> tuple[list[int], Feature]:
    """Return the hash of each listed category, and the feature; SampleError if the list does not match the model."""
    own = [_hash(name, category) for category in listed]
    is_open = not use.split and not use.tabled and not (listed and use.in_tables)
    hashing = CategoryHashing(known=tuple(sorted(use.tabled - set(own))), is_open=is_open)
    example = listed[0] if listed else ""
    try:
        feature = Feature(name, Kind.CATEGORICAL, tuple(listed), nullable=False, example=example, hashing=hashing)
    except ValueError as error:
        raise SampleError(str(error), feature=name) from error
    if unnamed := use.split - set(own):
        raise SampleError(
            f"feature {name!r}: the model splits by {len(use.split)} of its categories, and {len(unnamed)} of these have the "
            f"hash of none of the listed categories ({_some(listed)}); list them all, spelt as in training",
            feature=name,
            unnamed=len(unnamed),
        )
    if use.tabled and not use.tabled & set(own):
        raise SampleError(
            f"feature {name!r}: the model has statistics of {len(use.tabled)} categories, and none of them has the hash of a "
            f"listed category ({_some(listed)}); list them spelt as in training",
            feature=name,
            unnamed=len(use.tabled),
        )
    return own, feature


def _hash(name: str, category: Category) -> int:
    text = category_text(category)
    if text is None:
        raise SampleError(f"CatBoost does not accept the category {category!r}; use strings or integers", feature=name)
    return category_hash(text)


def _notes(name: str, listed: Sequence[Category], own: Sequence[int], use: _Use) -> list[str]:
    known = use.split | use.tabled
    if not known:
        return []
    notes = []
    if strange := [category for category, hashed in zip(listed, own, strict=True) if hashed not in known]:
        notes.append(
            f"feature {name!r}: {len(strange)} of the listed categories occur in no split or table of the model and are "
            f"predicted as unseen: {_some(strange)}"
        )
    if unnamed := len(use.tabled - set(own)):
        notes.append(
            f"feature {name!r}: {unnamed} of the {len(use.tabled)} categories that the model has statistics of are not listed; "
            "they are predicted by their hash, and not verified"
        )
    return notes


def _some(categories: Sequence[Category]) -> str:
    shown = ", ".join(map(repr, categories[:_SHOWN]))
    return shown + " …" * (len(categories) > _SHOWN)


def _columns_by_index(document: Document) -> list[Column]:
    found: dict[int, Column] = {}
    for column in document.columns:
        if column.flat in found or not 0 <= column.flat < _MAX_COLUMNS:
            raise ModelUnreadableError(f"the model has no feature, or two, at position {column.flat}")
        found[column.flat] = column
    if not found:
        raise ModelUnreadableError("the model has no features")
    # The file may omit a feature that training ignored, but rows have it nevertheless.
    return [found.get(index, Column(index, "")) for index in range(max(found) + 1)]
