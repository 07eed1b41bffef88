"""CatBoost's CTR features behind steps: look-up tables whose keys are made of raw columns that no step has changed.

A key has the hashes of categories, and whether numbers, rounded to float32, are above a border. So the categories must reach
the model as the caller sends them, and so must the numbers that occur in a table; others may pass through any step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.builder.importers.pipeline.lineage import Lineage
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.feature import Kind
from mlrf.core.table_columns import PartKind, TableColumns


def hashed_columns(model: ImportedModel, lineage: Lineage) -> list[int]:
    """Return the columns of a model with tables that are categories; none of a model without tables.

    UnsupportedModelError for one that a step has changed.
    """
    if model.forest.tables is None:
        return []
    found = [column for column, feature in enumerate(model.features) if feature.kind is Kind.CATEGORICAL]
    for column in found:
        _check_unchanged(model, lineage, column, "is a category of CTR features")
    return found


def over_raw_columns(model: ImportedModel, lineage: Lineage, feature_of_column: Sequence[int]) -> TableColumns | None:
    """Return a model's tables with the raw features in place of the columns of its matrix; None if it has none.

    UnsupportedModelError for a number in a table that a step has changed.
    """
    tables = model.forest.tables
    if tables is None:
        return None
    for table in tables.tables:
        for part in table.parts:
            if part.kind is PartKind.ABOVE:
                _check_unchanged(model, lineage, part.feature, "is a number in combinations with categories")
    return TableColumns(
        {feature_of_column[column]: hashes for column, hashes in tables.hashes.items()},
        tuple(
            replace(table, parts=tuple(replace(part, feature=feature_of_column[part.feature]) for part in table.parts))
            for table in tables.tables
        ),
    )


def _check_unchanged(model: ImportedModel, lineage: Lineage, column: int, what: str) -> None:
    behind = lineage.columns[column]
    if behind.is_raw and behind.filled_by is None:
        return
    step = "a step changes it" if behind.filled_by is None else f"the step {behind.filled_by!r} fills it"
    raise UnsupportedModelError(
        f"column {model.features[column].name!r} of the pipeline's CatBoost model {what}, and {step} before, which mlrf does "
        "not fold; pass the column through unchanged (train with max_ctr_complexity=1 if it is a number), or encode the "
        "categories in a step (OrdinalEncoder, TargetEncoder)"
    )
