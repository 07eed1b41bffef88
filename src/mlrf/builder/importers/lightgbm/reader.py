"""Reader of LightGBM models: from text to an `ImportedModel`."""

from __future__ import annotations

import numpy as np

from mlrf.builder.class_labels import choose_labels
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.lightgbm.features import feature_names, read_features
from mlrf.builder.importers.lightgbm.objective import Objective, read_objective
from mlrf.builder.importers.lightgbm.source import model_text
from mlrf.builder.importers.lightgbm.text import ModelText, split_text
from mlrf.builder.importers.lightgbm.tree import read_tree
from mlrf.builder.importers.lightgbm.trees import to_forest
from mlrf.builder.model_source import Source
from mlrf.core.errors import ModelUnreadableError
from mlrf.core.forest import NUMERIC

_LINEAR_LEAVES = (
    "the leaves are linear functions (linear_tree): exact predictions, no explanations and no response curves"
)


def read_lightgbm(source: Source, import_options: ImportOptions) -> ImportedModel:
    """Read a LightGBM text model, a Booster or a scikit-learn wrapper; raises a BuildError that says what is wrong."""
    raw, fitted_classes = model_text(source)
    text = split_text(raw)
    objective = read_objective(text.header.get("objective"))
    n_outputs = _outputs(text, objective)
    trees = [read_tree(fields, index) for index, fields in enumerate(text.trees)]
    if not trees or len(trees) % n_outputs:
        raise ModelUnreadableError(f"the model has {len(trees)} trees for {n_outputs} outputs")
    # A random forest's margin is the mean over its trees. In LightGBM only predict() is the mean: its raw_score and its
    # pred_contrib are sums.
    divisor = float(len(trees) // n_outputs) if "average_output" in text.header else 1.0
    n_features = len(feature_names(text))
    forest = to_forest(trees, n_features=n_features, n_outputs=n_outputs, divisor=divisor)
    by_category = {int(f) for f in np.unique(forest.feature[forest.category_set != NUMERIC])}
    return ImportedModel(
        forest=forest,
        task=objective.task,
        objective=objective.name,
        link=objective.link,
        classes=choose_labels(
            import_options.classes, fitted_classes, objective.n_classes, f"a model of the objective {objective.name}"
        ),
        labels_known=import_options.classes is not None or fitted_classes is not None,
        features=read_features(text, by_category, import_options.categories),
        library="lightgbm",
        source=raw,
        answers="mlrf.builder.importers.lightgbm.reference",
        unused_packages=("pandas", "sklearn", "dask", "matplotlib"),
        settings={"divisor": divisor},
        notes=() if forest.linear is None else (_LINEAR_LEAVES,),
    )


def _outputs(text: ModelText, objective: Objective) -> int:
    try:
        n_outputs = int(text.header["num_tree_per_iteration"])
    except (KeyError, ValueError) as error:
        raise ModelUnreadableError("the model file does not state its num_tree_per_iteration") from error
    expected = objective.n_classes if objective.task == "multiclass" else 1
    if n_outputs < 1 or (objective.task != "raw" and n_outputs != expected):
        raise ModelUnreadableError(
            f"the model file states {n_outputs} trees per iteration, which does not match its objective {objective.name}"
        )
    return n_outputs
