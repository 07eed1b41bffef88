"""Reads the members of a combination with their libraries' importers, and decides which of their answers are combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from mlrf.builder.importers.combination.recipe import MemberRecipe, Recipe
from mlrf.builder.importers.combination.source import is_combination
from mlrf.builder.importers.fitted_model import read_fitted_model
from mlrf.builder.importers.imported_model import CategoryLists, ImportedModel, ImportOptions
from mlrf.builder.importers.pipeline.source import is_pipeline
from mlrf.builder.model_source import ModelObject, Source
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.feature import Category
from mlrf.core.link import Link
from mlrf.core.manifest import LinkEntry, MemberEntry

_PROBABILITY_LINKS = ("identity", "sigmoid", "softmax", "sigmoid_each", "shares", "sigmoid_shares")

ReadModel = Callable[[Source, ImportOptions], ImportedModel]


@dataclass(frozen=True, slots=True)
class Member:
    """A member as a tree model, and how its part of the forest's outputs becomes its answer."""

    model: ImportedModel
    columns: tuple[int, ...] | None
    """The columns that its features are; None for all."""
    entry: MemberEntry

    @property
    def raw_columns(self) -> list[dict[str, Any]] | None:
        """All columns of a pipeline, also those that it does not need (see `RawColumn`); None for other members."""
        return _raw_columns(self.model)

    @property
    def is_pipeline(self) -> bool:
        """Whether it is a pipeline, whose features are raw columns, or a combination of pipelines."""
        return self.raw_columns is not None


def read_members(recipe: Recipe, options: ImportOptions, read_nested: ReadModel) -> list[Member]:
    """Return the members of a combination; UnsupportedModelError names the first that mlrf cannot serve in one.

    `read_nested` reads a member that is itself a combination, or a pipeline.
    """
    members = [_read_member(recipe, member, index, options, read_nested) for index, member in enumerate(recipe.members)]
    shared = _shared_categories(members)
    if not shared:
        return members
    # Codes are the same for all members only if their lists are.
    options = replace(options, shared_categories={**shared, **options.shared_categories})
    try:
        return [
            _read_member(recipe, made, index, options, read_nested) if read.is_pipeline else read
            for index, (made, read) in enumerate(zip(recipe.members, members, strict=True))
        ]
    except ModelUnreadableError as error:
        raise UnsupportedModelError(
            f"members of the {recipe.name} know different categories of {', '.join(map(repr, shared))}, and one of them "
            "refuses those that it does not know; train its encoder with handle_unknown='ignore' (OneHotEncoder), or with all "
            "categories listed"
        ) from error


def _shared_categories(members: Sequence[Member]) -> CategoryLists:
    """Return, by name, all categories of the raw columns for which pipelines have different lists."""
    found: dict[str, list[list[Category]]] = {}
    for member in members:
        for column in member.raw_columns or ():
            if column["is_used"] and column["categories"] is not None:
                found.setdefault(column["name"], []).append(column["categories"])
    return {
        name: list({(type(each), each): each for listed in lists for each in listed}.values())
        for name, lists in found.items()
        if any(listed != lists[0] for listed in lists)
    }


def _raw_columns(model: ImportedModel) -> list[dict[str, Any]] | None:
    columns: list[dict[str, Any]] | None = model.settings.get("table", {}).get("columns")
    return columns


def _read_member(
    recipe: Recipe, member: MemberRecipe, index: int, options: ImportOptions, read_nested: ReadModel
) -> Member:
    estimator = member.estimator
    kind = type(estimator)
    try:
        if is_combination(estimator) or is_pipeline(estimator):
            model: ImportedModel | None = read_nested(ModelObject(estimator), options)
        else:
            model = read_fitted_model(estimator, options)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            f"member {index} of the {recipe.name} cannot be served: {error}; leave the member out, or export the whole to ONNX "
            "with skl2onnx"
        ) from error
    if model is None:
        raise UnsupportedModelError(
            f"member {index} of the {recipe.name} is a {kind.__module__}.{kind.__name__}, and mlrf combines tree models of "
            "LightGBM, XGBoost, CatBoost and scikit-learn; leave it out, or export the whole to ONNX with skl2onnx"
        )
    if model.final is not None or (model.combination is not None and model.combination.reads_rows):
        what = "with passthrough=True" if model.final is None else "that ends in trees"
        raise UnsupportedModelError(
            f"member {index} of the {recipe.name} is a {kind.__name__} {what}, which mlrf serves only as the whole model; "
            "train it with a linear final_estimator and passthrough=False, or export the whole to ONNX with skl2onnx"
        )
    if model.combination is not None and not member.second_class_only and member.response == "predict_proba":
        # The first class's probability is then the inner combination's own, not 1 minus the second's.
        both = msgspec.structs.replace(model.combination, second_class_only=False)
        model = replace(model, combination=both)
    link = _link(recipe, model, member)
    forest = model.forest
    is_plain = model.combination is None
    entry = MemberEntry(
        outputs=forest.n_outputs,
        link=LinkEntry(link.kind, link.scale),
        divisor=forest.divisor,
        scale=forest.scale,
        offsets=forest.base.tolist() if forest.base_order == "last" and forest.base.any() else [],
        precision=forest.rounding if is_plain else "float64",
        both_classes=member.response == "predict_proba"
        and model.task == "binary"
        and not member.second_class_only
        and not member.calibrators,
        calibrators=list(member.calibrators),
        class_at_half=model.class_at_half if member.votes else None,
        combination=model.combination,
    )
    return Member(replace(model, notes=()), _columns(member, model), entry)


def _columns(member: MemberRecipe, model: ImportedModel) -> tuple[int, ...] | None:
    """Return the columns that are a member's features; None for all."""
    raw = _raw_columns(model)
    if raw is None:
        return None if member.columns is None else tuple(member.columns)
    given = range(len(raw)) if member.columns is None else member.columns
    return tuple(index for index, column in zip(given, raw, strict=True) if column["is_used"])


def _link(recipe: Recipe, model: ImportedModel, member: MemberRecipe) -> Link:
    """Return the link between a member's margins and the answer that the combination takes."""
    if member.response == "decision_function":
        return Link()
    if member.response == "predict" and model.classes is not None:
        raise _unserved(recipe, member, "it gives labels to be combined")
    if member.response == "predict_proba":
        if model.classes is None:
            raise _unserved(recipe, member, "it is not a classifier")
        if model.link.kind not in _PROBABILITY_LINKS or model.task not in ("binary", "multiclass"):
            raise _unserved(recipe, member, f"its link {model.link.kind} gives no probabilities")
    return model.link


def _unserved(recipe: Recipe, member: MemberRecipe, reason: str) -> UnsupportedModelError:
    name: Any = type(member.estimator).__name__
    return UnsupportedModelError(
        f"mlrf does not serve a {recipe.name} of a {name}: {reason}; export it to ONNX with skl2onnx and build from that"
    )
