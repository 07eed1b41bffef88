"""Reader of CatBoost models: from bytes or an object to an `ImportedModel`."""

from __future__ import annotations

import numpy as np

from mlrf.builder.class_labels import choose_labels
from mlrf.builder.importers.catboost.cbm_file import MAGIC, read_binary
from mlrf.builder.importers.catboost.ctr_tables import read_ctr_columns
from mlrf.builder.importers.catboost.features import read_columns
from mlrf.builder.importers.catboost.json_file import read_json
from mlrf.builder.importers.catboost.objective import read_objective
from mlrf.builder.importers.catboost.source import model_bytes
from mlrf.builder.importers.catboost.trees import to_trees
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.join_trees import join_trees
from mlrf.builder.model_source import Source


def read_catboost(source: Source, import_options: ImportOptions) -> ImportedModel:
    """Return the model in a `.cbm` or JSON file, or in a fitted CatBoost object.

    The requested category lists name the categories of features in the order of their codes, because the model stores only
    hashes. The classes rename a classifier's classes, in their order. Raises a BuildError that says what is wrong.
    """
    raw = model_bytes(source)
    document = read_binary(raw) if raw.startswith(MAGIC) else read_json(raw)
    objective = read_objective(document.info, document.n_outputs)
    columns = read_columns(document, import_options.category_names)
    ctr_columns = read_ctr_columns(document, columns)
    trees, sets = to_trees(document, columns, ctr_columns)
    forest = join_trees(
        trees,
        n_features=len(columns.features),
        base=np.array(document.bias, np.float64),
        category_sets=sets,
        inputs="float32",
        scale=document.scale,
        base_order="last",
        tables=ctr_columns.tables,
    )
    return ImportedModel(
        forest=forest,
        task=objective.task,
        objective=objective.name,
        link=objective.link,
        classes=choose_labels(
            import_options.classes,
            objective.classes,
            None if objective.classes is None else len(objective.classes),
            f"a model of the loss {objective.name}",
        ),
        features=columns.features,
        notes=(*objective.notes, *document.notes, *columns.notes),
        library="catboost",
        source=raw,
        class_at_half=0,
        answers="mlrf.builder.importers.catboost.reference",
        settings={"link": objective.link.kind, "categories": [feature.categories for feature in columns.features]},
    )
