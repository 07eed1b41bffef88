"""Reader of scikit-learn models: from an estimator or a skops file to an `ImportedModel`."""

from __future__ import annotations

from mlrf.builder.class_labels import choose_labels, targets_note
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.join_trees import join_trees
from mlrf.builder.importers.sklearn.features import read_columns
from mlrf.builder.importers.sklearn.histogram import HistogramTrees
from mlrf.builder.importers.sklearn.objective import initial_margin, takes_missing
from mlrf.builder.importers.sklearn.source import open_estimator
from mlrf.builder.importers.sklearn.trees import read_trees
from mlrf.builder.model_source import Source
from mlrf.core.errors import ModelUnreadableError


def read_sklearn(source: Source, import_options: ImportOptions) -> ImportedModel:
    """Read a fitted estimator or a skops file.

    The requested category lists name the categories of features whose categories are codes; the classes give a classifier's
    classes other names, in the order of its `classes_`. Raises a BuildError that says what is wrong.
    """
    estimator, kind, skops_file = open_estimator(source)
    try:
        columns = read_columns(estimator, import_options.categories, nullable=takes_missing(estimator, kind))
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
            scale=2.0 if kind.family == "adaboost" and kind.n_outputs == 1 else 1.0,
        )
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        # A file of another version, or a damaged one, may lack anything.
        raise ModelUnreadableError(
            f"the {kind.name} lacks an attribute that scikit-learn's estimators have: {error}"
        ) from error
    return ImportedModel(
        forest=forest,
        task=kind.task,
        objective=kind.objective,
        link=kind.link,
        classes=choose_labels(
            import_options.classes, kind.classes, None if kind.classes is None else len(kind.classes), f"a {kind.name}"
        ),
        features=columns.features,
        library="scikit-learn",
        source=skops_file,
        targets=kind.targets,
        class_at_half=1 if kind.family == "boosting" else 0,
        notes=targets_note(kind.targets),
        answers="mlrf.builder.importers.sklearn.reference",
        unused_packages=("pandas", "pytest"),
    )
