"""A CatBoost model, whole: bytes or an object in, `ImportedModel` out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlrf.builder.catboost.binary import MAGIC, read_binary
from mlrf.builder.catboost.columns import read_columns
from mlrf.builder.catboost.json_file import read_json
from mlrf.builder.catboost.objective import Objective, read_objective
from mlrf.builder.catboost.source import model_bytes
from mlrf.builder.catboost.trees import to_trees
from mlrf.builder.imported import ClassLabel, ImportedModel, Wishes
from mlrf.builder.joining import join_trees
from mlrf.builder.source import Source
from mlrf.core.errors import SampleError


def read_catboost(source: Source, wishes: Wishes) -> ImportedModel:
    """Read a `.cbm` or JSON file, or a fitted CatBoost object.

    The wished category lists name the categories of features in the order of their codes: the model keeps hashes alone. The
    classes give a classifier's classes other names, in their order. Raises the BuildError that says what is wrong.
    """
    raw = model_bytes(source)
    document = read_binary(raw) if raw.startswith(MAGIC) else read_json(raw)
    objective = read_objective(document.info, document.n_outputs)
    columns = read_columns(document, wishes.categories)
    trees, sets = to_trees(document, columns)
    forest = join_trees(
        trees,
        n_features=len(columns.features),
        base=np.array(document.bias, np.float64),
        category_sets=sets,
        inputs="float32",
        scale=document.scale,
        base_order="last",
    )
    return ImportedModel(
        forest=forest,
        task=objective.task,
        objective=objective.name,
        link=objective.link,
        classes=_labels(objective, wishes.classes),
        features=columns.features,
        library="catboost",
        source=raw,
        class_at_half=0,
        answers="mlrf.builder.catboost.answers",
        settings={"link": objective.link.kind, "categories": [feature.categories for feature in columns.features]},
    )


def _labels(objective: Objective, given: Sequence[ClassLabel] | None) -> tuple[ClassLabel, ...] | None:
    if given is None:
        return objective.classes
    if objective.classes is None:
        raise SampleError(
            f"class labels are given, but the model's objective {objective.name} makes it no classifier; leave them out"
        )
    if len(given) != len(objective.classes):
        raise SampleError(
            f"the model has {len(objective.classes)} classes, each with a label of its own, not {list(given)}"
        )
    return tuple(given)
