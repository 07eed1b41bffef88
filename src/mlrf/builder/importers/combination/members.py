"""Reads the members of a combination with their libraries' importers, and decides which of their answers are combined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlrf.builder.importers.combination.recipe import MemberRecipe, Recipe
from mlrf.builder.importers.fitted_model import read_fitted_model
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.feature import Feature, Kind
from mlrf.core.link import Link
from mlrf.core.manifest import LinkEntry, MemberEntry

_TWO = 2
_PROBABILITY_LINKS = ("identity", "sigmoid", "softmax", "sigmoid_each")


@dataclass(frozen=True, slots=True)
class Member:
    """A member as a tree model, and how its part of the forest's outputs becomes its answer."""

    model: ImportedModel
    columns: tuple[int, ...] | None
    entry: MemberEntry


def read_members(recipe: Recipe) -> list[Member]:
    """Return the members of a combination; UnsupportedModelError names the first that mlrf cannot serve in one."""
    return [_read_member(recipe, member, index) for index, member in enumerate(recipe.members)]


def member_features(recipe: Recipe, members: list[Member], names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Return the features of the rows: numbers, which may be missing where all members take missing values."""
    takes_missing: dict[int, bool] = {}
    for member in members:
        columns = member.columns or range(len(names))
        if len(columns) != len(member.model.features):
            raise UnsupportedModelError(
                f"a member of the {recipe.name} takes {len(member.model.features)} columns of {len(columns)}"
            )
        for column, feature in zip(columns, member.model.features, strict=True):
            if feature.kind is Kind.CATEGORICAL:
                raise UnsupportedModelError(
                    f"a member of the {recipe.name} takes categories (feature {feature.name!r}), and mlrf combines models of "
                    "numbers alone; encode categories before (a Pipeline of an OrdinalEncoder and the combination), or build "
                    "from the member"
                )
            takes_missing[column] = takes_missing.get(column, recipe.takes_missing) and feature.nullable
    return tuple(
        Feature(name, nullable=takes_missing.get(column, recipe.takes_missing), example=0.0)
        for column, name in enumerate(names)
    )


def _read_member(recipe: Recipe, member: MemberRecipe, index: int) -> Member:
    estimator = member.estimator
    kind = type(estimator)
    try:
        model = read_fitted_model(estimator, ImportOptions())
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
    link = _link(recipe, model, member)
    entry = MemberEntry(
        outputs=model.forest.n_outputs,
        link=LinkEntry(link.kind, link.scale),
        divisor=model.forest.divisor,
        scale=model.forest.scale,
        offsets=model.forest.base.tolist() if model.forest.base_order == "last" and model.forest.base.any() else [],
        precision=model.forest.rounding,
        both_classes=_returns_one_class_of_two(model, member)
        and not member.second_class_only
        and not member.calibrators,
        calibrators=list(member.calibrators),
    )
    return Member(replace(model, notes=()), None if member.columns is None else tuple(member.columns), entry)


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


def _returns_one_class_of_two(model: ImportedModel, member: MemberRecipe) -> bool:
    return member.response == "predict_proba" and model.task == "binary"


def _unserved(recipe: Recipe, member: MemberRecipe, reason: str) -> UnsupportedModelError:
    name: Any = type(member.estimator).__name__
    return UnsupportedModelError(
        f"mlrf does not serve a {recipe.name} of a {name}: {reason}; export it to ONNX with skl2onnx and build from that"
    )
