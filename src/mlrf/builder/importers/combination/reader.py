"""Reader of combinations of models: from a meta-estimator or a skops file to an `ImportedModel`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.class_labels import choose_labels
from mlrf.builder.importers.combination.final_model import check_numbers, edges_of_rows, read_final_model, with_final
from mlrf.builder.importers.combination.member_features import (
    bands,
    combined_features,
    edge_values,
    listed_columns,
    on_columns,
    table_settings,
    used_columns,
)
from mlrf.builder.importers.combination.members import Member, read_members
from mlrf.builder.importers.combination.merge import merge_forests
from mlrf.builder.importers.combination.recipe import Recipe
from mlrf.builder.importers.combination.recipes import RECIPES
from mlrf.builder.importers.combination.source import open_combination, pack_source
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.pipeline.reader import read_pipeline
from mlrf.builder.importers.pipeline.source import is_pipeline
from mlrf.builder.model_source import ModelObject, Source
from mlrf.core.combination import Combination
from mlrf.core.errors import ModelUnreadableError, SampleError
from mlrf.core.feature import Feature
from mlrf.core.link import Link
from mlrf.core.manifest import CombinationEntry, LinkEntry

_NOT_EXPLAINED = (
    "predictions only: the {} passes its members' answers through functions that are not linear, so their Shapley values do "
    "not add up to its answer"
)
_ADDS_ROWS = (
    "predictions only: the {} adds multiples of the row's own numbers (passthrough=True), and the model does not keep their "
    "means, which Shapley values need"
)
_SHARES = {"identity": "shares", "sigmoid": "sigmoid_shares"}


def read_combination(source: Source, options: ImportOptions) -> ImportedModel:
    """Read a fitted meta-estimator or a skops file of one; raises a BuildError that says what is wrong."""
    estimator = open_combination(source)
    name = type(estimator).__name__
    try:
        recipe = RECIPES[name](estimator)
        members = read_members(
            recipe, ImportOptions(sampled=options.sampled, shared_categories=options.shared_categories), _read_nested
        )
        return _combined(estimator, recipe, members, options)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        # An estimator of another version, or of a damaged file, may lack any attribute.
        raise ModelUnreadableError(
            f"the {name} lacks an attribute that scikit-learn's estimators have: {error}"
        ) from error


def _read_nested(source: Source, options: ImportOptions) -> ImportedModel:
    is_pipe = isinstance(source, ModelObject) and is_pipeline(source.value)
    return read_pipeline(source, options, read_combination) if is_pipe else read_combination(source, options)


def _combined(estimator: Any, recipe: Recipe, members: list[Member], options: ImportOptions) -> ImportedModel:
    every = _names(estimator, members)
    used = list(range(len(every))) if recipe.passes_rows else used_columns(members, len(every))
    members = [on_columns(member, used) for member in members]
    names = tuple(every[column] for column in used)
    check_category_names(options.categories, list(names))
    if options.categories:
        feature = next(iter(options.categories))
        raise SampleError(f"feature {feature!r}: the model splits it as a number; leave its list out", feature=feature)
    features = combined_features(recipe, members, names)
    if recipe.passes_rows:
        check_numbers(recipe, features)
    forest = merge_forests(
        [member.model.forest for member in members], [member.columns for member in members], len(names)
    )
    members, link = _with_last_link(recipe, members)
    n_answers = sum(_n_answers(member) for member in members)
    final = read_final_model(recipe, n_answers, len(every))
    if final is not None:
        link = final.link
    of_rows = final if recipe.passes_rows else None
    features = with_final(features, of_rows, n_answers)
    is_binary = recipe.classes is not None and len(recipe.classes) == 2  # noqa: PLR2004
    entry = CombinationEntry(
        kind=recipe.kind,
        members=[member.entry for member in members],
        weights=list(_thresholds(recipe, members) if recipe.kind == "one_against_one" else recipe.weights),
        coefficients=[list(row) for row in recipe.coefficients],
        intercepts=list(recipe.intercepts),
        row_coefficients=[list(row) for row in recipe.row_coefficients],
        final="none" if final is None else "answers_and_rows" if recipe.passes_rows else "answers",
        precision="float32" if recipe.in_members_precision and forest.rounding == "float32" else "float64",
        second_class_only=recipe.is_probabilities and is_binary,
        n_classes=recipe.n_classes,
    )
    combination = Combination(entry)
    unexplained = _ADDS_ROWS if combination.adds_rows else None if combination.is_linear else _NOT_EXPLAINED
    every_model = [member.model for member in members] + ([] if final is None else [final])
    libraries = sorted({model.library for model in every_model})
    return ImportedModel(
        forest=forest,
        combination=entry,
        final=final,
        task=recipe.task,
        objective=f"{recipe.name} of {len(members)} {'models' if len(members) != 1 else 'model'} ({', '.join(libraries)})",
        link=link,
        classes=choose_labels(
            options.classes,
            recipe.classes,
            None if recipe.classes is None else len(recipe.classes),
            f"a {recipe.name}",
        ),
        features=features,
        library="scikit-learn",
        source=pack_source(estimator, [member.model.source for member in members]),
        answers="mlrf.builder.importers.combination.reference",
        unused_packages=("pandas", "pytest"),
        settings={
            "members": [
                {
                    "answers": member.model.answers,
                    "settings": dict(member.model.settings),
                    "columns": None if member.columns is None else list(member.columns),
                }
                for member in members
            ],
            "table": table_settings(
                members,
                dict(zip(used, features, strict=True)),
                every,
                no_code_up_to=forest.no_code_up_to,
                is_frame=_is_frame(estimator, members, features),
            ),
        },
        targets=recipe.targets,
        class_at_half=0 if final is None else final.class_at_half,
        covers="none" if any(member.model.covers == "none" for member in members) else "training",
        notes=(*recipe.notes, *(() if unexplained is None else (unexplained.format(recipe.name),))),
        known_codes_only=listed_columns(members, features),
        refuses_beyond_float32=any(model.is_limited_to_float32 for model in every_model),
        largest_number=min(model.largest_number for model in every_model),
        edge_values=_joined(edge_values(members), edges_of_rows(of_rows, n_answers)),
        bands=bands(members),
        functions=tuple(dict.fromkeys(each for member in members for each in member.model.functions)),
    )


def _n_answers(member: Member) -> int:
    """Return the number of columns that a member's answer has."""
    entry = CombinationEntry("each", [member.entry])
    return len(Combination(entry).margins([0.0] * member.entry.outputs))


def _joined(*parts: Mapping[int, tuple[float, ...]]) -> dict[int, tuple[float, ...]]:
    """Return the values of each column in all parts, ascending."""
    columns = sorted({column for part in parts for column in part})
    return {column: tuple(sorted({x for part in parts for x in part.get(column, ())})) for column in columns}


def _names(estimator: Any, members: list[Member]) -> tuple[str, ...]:
    """Return the names of the columns: the meta-estimator's, its first member's, or x0, x1, …."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return tuple(str(name) for name in names)
    whole = next((member for member in members if member.columns is None or member.is_pipeline), None)
    if whole is not None and type(estimator).__name__ in ("TransformedTargetRegressor", "CalibratedClassifierCV"):
        if whole.raw_columns is not None:
            return tuple(column["name"] for column in whole.raw_columns)
        return tuple(feature.name for feature in whole.model.features)
    return tuple(f"x{column}" for column in range(int(estimator.n_features_in_)))


def _is_frame(estimator: Any, members: Sequence[Member], features: Sequence[Feature]) -> bool:
    if getattr(estimator, "feature_names_in_", None) is not None:
        return True
    if any(member.is_pipeline for member in members):
        return any(member.is_pipeline and member.model.settings["table"]["is_frame"] for member in members)
    return any(isinstance(category, str) for feature in features for category in feature.categories or ())


def _thresholds(recipe: Recipe, members: list[Member]) -> list[float]:
    """Return, by member, the answer above which its second class wins."""
    pairs = zip(recipe.weights, members, strict=True)
    return [math.nextafter(half, -math.inf) if member.model.class_at_half else half for half, member in pairs]


def _with_last_link(recipe: Recipe, members: list[Member]) -> tuple[list[Member], Link]:
    """Return the members and the last link, the members' own moved there where the combination leaves each margin alone."""
    if recipe.kind != "each" or recipe.targets or recipe.final is not None:
        return members, recipe.link
    links = {(member.entry.link.kind, member.entry.link.scale) for member in members}
    kind, scale = next(iter(links))
    if recipe.normalises:
        if len(links) == 1 and kind in _SHARES:
            return [_without_link(member) for member in members], Link(_SHARES[kind], scale)  # type: ignore[arg-type]
        return members, Link("shares")
    if len(links) == 1 and recipe.link.kind == "identity":
        return [_without_link(member) for member in members], Link(kind, scale)  # type: ignore[arg-type]
    return members, recipe.link


def _without_link(member: Member) -> Member:
    return replace(member, entry=msgspec.structs.replace(member.entry, link=LinkEntry("identity")))
