"""A scikit-learn model, whole: an estimator or a skops file in, `ImportedModel` out."""

from __future__ import annotations

from collections.abc import Sequence

from mlrf.builder.imported import ClassLabel, ImportedModel, Wishes
from mlrf.builder.joining import join_trees
from mlrf.builder.sklearn.estimator import Kind, initial_margin, takes_missing
from mlrf.builder.sklearn.features import read_columns
from mlrf.builder.sklearn.histogram import HistogramTrees
from mlrf.builder.sklearn.source import open_estimator
from mlrf.builder.sklearn.trees import read_trees
from mlrf.builder.source import Source
from mlrf.core.errors import ModelUnreadableError, SampleError


def read_sklearn(source: Source, wishes: Wishes) -> ImportedModel:
    """Read a fitted estimator or a skops file.

    The wished category lists name the categories of features whose categories are codes; the classes give a classifier's
    classes other names, in the order of its `classes_`. Raises the BuildError that says what is wrong.
    """
    estimator, kind, skops_file = open_estimator(source)
    try:
        columns = read_columns(estimator, wishes.categories, nullable=takes_missing(estimator, kind))
        base = initial_margin(estimator, kind)
        if kind.family == "histogram":
            histogram = HistogramTrees(kind, columns.order, columns.codes)
            trees, divisor, sets = histogram.read(estimator._predictors), 1.0, histogram.category_sets  # noqa: SLF001
        else:
            (trees, divisor), sets = read_trees(estimator, kind), []
        if not trees:
            raise ModelUnreadableError(f"the {kind.name} has no trees")
        forest = join_trees(
            trees,
            n_features=len(columns.features),
            base=base,
            category_sets=sets,
            inputs="float64" if kind.family == "histogram" else "float32",
            divisor=divisor,
        )
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        # Whatever a file of another version, or a damaged one, lacks.
        raise ModelUnreadableError(f"the {kind.name} lacks what scikit-learn's own have: {error}") from error
    return ImportedModel(
        forest=forest,
        task=kind.task,
        objective=kind.objective,
        link=kind.link,
        classes=_named(kind, wishes.classes),
        features=columns.features,
        library="scikit-learn",
        source=skops_file,
        class_at_half=1 if kind.family == "boosting" else 0,
        answers="mlrf.builder.sklearn.answers",
    )


def _named(kind: Kind, given: Sequence[ClassLabel] | None) -> tuple[ClassLabel, ...] | None:
    if given is None:
        return kind.classes
    if kind.classes is None:
        raise SampleError(f"class labels are given, but a {kind.name} is no classifier; leave them out")
    if len(given) != len(kind.classes):
        raise SampleError(f"the model has {len(kind.classes)} classes, each with a label of its own, not {list(given)}")
    return tuple(given)
