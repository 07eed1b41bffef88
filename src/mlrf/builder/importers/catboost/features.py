"""The columns of a CatBoost model, and the codes of its categories.

A model keeps hashes of its categories, not the categories. They come from a list that is given; or, where small integers
have all the hashes that a feature splits by, they are those integers and are codes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.catboost.city_hash import category_hash
from mlrf.builder.importers.catboost.document import Column, Document
from mlrf.builder.importers.imported_model import CategoryLists
from mlrf.core.errors import ModelUnreadableError, SampleError
from mlrf.core.schema import Category, Feature, Kind

_MAX_COLUMNS = 1_000_000
_TRIED_INTEGERS = 1 << 16


@dataclass(frozen=True, slots=True)
class Columns:
    """The model's features in the order of its columns, and the code of each hash that a feature splits by."""

    features: tuple[Feature, ...]
    codes: dict[tuple[int, int], tuple[int, ...]]
    """By column and hash: the codes that have it, ascending."""


def read_columns(document: Document, lists: CategoryLists) -> Columns:
    """Return the columns; SampleError when a feature's categories are needed and nobody names them."""
    by_place = _places(document)
    used: dict[int, set[int]] = {}
    for tree in document.trees:
        for place in set(tree.split[tree.split >= 0].tolist()):
            split = document.splits[place]
            if split.category is not None:
                used.setdefault(split.column, set()).add(split.category)
    names = [by_place[place].name or str(place) for place in range(len(by_place))]
    if len(set(names)) != len(names):
        raise ModelUnreadableError("the model names two features alike")
    check_category_names(lists, names)
    features, codes = [], {}
    for place, name in enumerate(names):
        if not by_place[place].is_category:
            if name in lists:
                raise SampleError(
                    f"feature {name!r}: the model splits it as a number; leave its list out", feature=name
                )
            features.append(Feature(name, example=0.0))
            continue
        feature, found = _categorical(name, lists.get(name), used.get(place, set()))
        features.append(feature)
        codes.update({(place, hashed): with_hash for hashed, with_hash in found.items()})
    return Columns(tuple(features), codes)


def category_text(category: Category) -> str:
    """Return a category as CatBoost hashes it, booleans as 0 and 1; SampleError for a fraction, which CatBoost refuses."""
    if isinstance(category, str):
        return category
    if category != int(category):
        raise SampleError(f"CatBoost takes no category {category!r}: use strings or integers")
    return str(int(category))


def _places(document: Document) -> list[Column]:
    found: dict[int, Column] = {}
    for column in document.columns:
        if column.flat in found or not 0 <= column.flat < _MAX_COLUMNS:
            raise ModelUnreadableError(f"the model has two features, or none that can be, at place {column.flat}")
        found[column.flat] = column
    if not found:
        raise ModelUnreadableError("the model has no features")
    # A feature that training ignored may be left out of the file; rows have it all the same.
    return [found.get(place, Column(place, "")) for place in range(max(found) + 1)]


def _categorical(
    name: str, listed: list[Category] | None, hashes: set[int]
) -> tuple[Feature, dict[int, tuple[int, ...]]]:
    if listed is not None:
        found: dict[int, list[int]] = {}
        for code, category in enumerate(listed):
            found.setdefault(category_hash(category_text(category)), []).append(code)
        try:
            feature = Feature(
                name, Kind.CATEGORICAL, tuple(listed), nullable=False, example=listed[0] if listed else None
            )
        except ValueError as error:
            raise SampleError(str(error), feature=name) from error
        return feature, {hashed: tuple(found.get(hashed, ())) for hashed in hashes}
    integers = {hashed: _integers().get(hashed) for hashed in hashes}
    if any(integer is None for integer in integers.values()):
        raise SampleError(
            f"feature {name!r} is categorical, and the model keeps only hashes of its categories: name them with --categories",
            feature=name,
        )
    known: dict[int, tuple[int, ...]] = {
        hashed: (integer,) for hashed, integer in integers.items() if integer is not None
    }
    example = min((codes[0] for codes in known.values()), default=0)
    return Feature(name, Kind.CATEGORICAL, nullable=False, example=example), known


@cache
def _integers() -> dict[int, int]:
    """Return the small integers by their hash."""
    return {category_hash(str(integer)): integer for integer in range(_TRIED_INTEGERS)}
