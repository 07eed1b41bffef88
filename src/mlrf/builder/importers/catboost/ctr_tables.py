"""CatBoost's CTR features as columns of the IR's tables: one table per combination, whatever its statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlrf.builder.importers.catboost.ctr import Combination, Ctr, ctr_values
from mlrf.builder.importers.catboost.document import Document
from mlrf.builder.importers.catboost.features import Columns, used_ctrs
from mlrf.core.errors import ModelUnreadableError
from mlrf.core.table_columns import F32, KeyPart, LookupTable, PartKind, TableColumns


@dataclass(frozen=True, slots=True)
class CtrColumns:
    """The tables of a model, and the columns of its CTR features in them."""

    tables: TableColumns | None
    """None for a model that does not split by CTR features."""
    index: dict[Ctr, int]


def read_ctr_columns(document: Document, columns: Columns) -> CtrColumns:
    """Return the tables that the trees need; ModelUnreadableError if the file lacks one."""
    used = used_ctrs(document)
    if not used:
        return CtrColumns(None, {})
    by_combination: dict[Combination, list[Ctr]] = {}
    for ctr in used:
        by_combination.setdefault(ctr.table.combination, []).append(ctr)
    large = {column.flat for column in document.columns if column.nan_is_large}
    tables = [_table(document, combination, ctrs, large) for combination, ctrs in by_combination.items()]
    in_order = [ctr for ctrs in by_combination.values() for ctr in ctrs]
    hashed = {part.feature for table in tables for part in table.parts if part.kind is not PartKind.ABOVE}
    hashes = {feature: np.array(columns.hashes[feature], np.uint32) for feature in sorted(hashed)}
    return CtrColumns(TableColumns(hashes, tuple(tables)), {ctr: index for index, ctr in enumerate(in_order)})


def _table(document: Document, combination: Combination, ctrs: list[Ctr], large: set[int]) -> LookupTable:
    counted = []
    for ctr in ctrs:
        if ctr.table not in document.ctr_tables:
            raise ModelUnreadableError(
                f"the model splits by a CTR feature ({ctr.table.type.name}) whose table is not in the file"
            )
        counted.append(document.ctr_tables[ctr.table])
    # Tables of one combination may differ in their keys: a key that a table lacks has the statistic of an unseen combination.
    keys = np.unique(np.concatenate([table.keys for table in counted]))
    values: F32 = np.empty((len(keys) + 1, len(ctrs)), np.float32)
    for column, (ctr, table) in enumerate(zip(ctrs, counted, strict=True)):
        found = ctr_values(ctr, table)
        values[:, column] = found[-1]
        values[np.searchsorted(keys, table.keys), column] = found[:-1]
    parts = [KeyPart(PartKind.CATEGORY, feature) for feature in combination.categories]
    parts += [KeyPart(PartKind.ABOVE, f, border=b, nan_is_above=f in large) for f, b in combination.above]
    parts += [KeyPart(PartKind.EQUALS, feature, hash=hashed) for feature, hashed in combination.equals]
    return LookupTable(tuple(parts), keys, values)
