"""`Batch`: rows as float64 with what is wrong with them, made from typed tables, tables of text, and JSON documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidRequestError, MissingFeatureError
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.array_rows import Table
from mlrf.model.distinct_values import Faults, numbers_of_codes
from mlrf.model.json_instances import features_of, spelled_as_features
from mlrf.model.table_input import read_rows, whole_column
from mlrf.model.text_cells import EMPTY, read_cell, read_column

DOCUMENT = "document"
"""The column of the table of a batch that was read from JSON."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a file."""

    first_row: int
    """Number of the first row in its file, from 0."""
    rows: Table
    """[n, F], missing as NaN."""
    faults: Faults
    """By row of the batch, what is wrong with it; such rows contain NaN."""
    kept: Any
    """Arrow table of the columns to keep, n rows."""
    given: Any
    """Arrow table of the rows as they were read."""


class BatchReader:
    """Reads the rows of one file for a schema, with the columns to keep and the texts of the file's partition."""

    def __init__(
        self, schema: Schema, leniency: Leniency, keep: Sequence[str], partition: dict[str, str] | None = None
    ) -> None:
        self._schema = schema
        self._leniency = leniency
        self._keep = keep
        self._partition = partition or {}
        names = [*self._partition]
        self._partition_features = {
            feature: self._partition[names[at]] for feature, at in find_columns(schema.names, names).items()
        }
        self._by_name = {feature.name: feature for feature in schema.features}

    def of_table(self, table: Any, first_row: int) -> Batch:
        """Return the rows of a table with typed columns."""
        faults: Faults = {}
        given = table
        for name, value in self._partition_values().items():
            if name not in table.column_names:
                column = pa.nulls(len(table)) if value is None else pa.array([value] * len(table))
                table = table.append_column(name, column)
        rows = read_rows(self._schema, table, self._leniency, faults)
        return Batch(first_row, rows, faults, self._kept(given), given)

    def number_columns(self, names: Sequence[str]) -> frozenset[str]:
        """Return the columns of text that may be read as numbers: those of numeric features that are not also kept."""
        found = find_columns(self._schema.names, names)
        return frozenset(
            names[found[feature.name]]
            for feature in self._schema.features
            if feature.name in found and _is_number(feature) and names[found[feature.name]] not in self._keep
        )

    def of_text(self, table: Any, first_row: int) -> Batch:
        """Return the rows of a table of text: its columns are strings, or float64 where all cells are numbers."""
        faults: Faults = {}
        given = table
        for name, text in self._partition_features.items():
            if name not in table.column_names:
                table = table.append_column(name, pa.array([text] * len(table)))
        found = find_columns(self._schema.names, table.column_names)
        rows = np.empty((len(table), len(self._schema.features)))
        for index, feature in enumerate(self._schema.features):
            at = found.get(feature.name)
            if at is None:
                rows[:, index] = self._default(index)
            else:
                rows[:, index] = _text_column(self._schema, index, table.column(at), self._leniency, faults)
        if faults:
            given = pa.table({name: given[name].cast(pa.string()) for name in given.column_names})
        return Batch(first_row, rows, faults, self._kept(given), given)

    def of_documents(
        self, documents: Sequence[Any], first_row: int, records: Sequence[dict[str, Any]] | None = None
    ) -> Batch:
        """Return the rows of JSON documents: objects of names and values, or arrays in schema order.

        `records` are what else can be kept of each; an error in the place of a document is what is wrong with the row.
        """
        errors = {at: each for at, each in enumerate(documents) if isinstance(each, InvalidRequestError)}
        if errors:
            documents = [None if at in errors else each for at, each in enumerate(documents)]
        faults: Faults = {}
        instances = spelled_as_features((features_of(each, self._by_name) for each in documents), self._schema)
        if added := self._partition_values():
            instances = [{**added, **each} if isinstance(each, dict) else each for each in instances]
        rows = read_rows(self._schema, instances, self._leniency, faults).reshape(-1, len(self._schema.features))
        faults |= errors
        sources = zip(records or documents, documents, strict=True)
        texts_of = [[self._text_of(name, *both) for name in self._keep] for both in sources]
        kept = {name: pa.array([each[at] for each in texts_of], pa.string()) for at, name in enumerate(self._keep)}
        texts = [msgspec.json.encode(each).decode() for each in documents] if faults else [None] * len(documents)
        return Batch(first_row, rows, faults, pa.table(kept), pa.table({DOCUMENT: pa.array(texts, pa.string())}))

    def _partition_values(self) -> dict[str, Any]:
        """Return the values of the features that are columns of the partition."""
        return {name: read_cell(self._by_name[name], text) for name, text in self._partition_features.items()}

    def _kept(self, table: Any) -> Any:
        columns = {
            name: table[name] if name in table.column_names else pa.array([self._partition[name]] * len(table))
            for name in self._keep
        }
        # Without columns a table has no rows either, and the number of rows is needed.
        return pa.table(columns) if columns else table.select([])

    def _default(self, index: int) -> float:
        feature = self._schema.features[index]
        if not feature.optional:
            raise MissingFeatureError(f"the table has no column {feature.name!r}", feature=feature.name)
        return self._schema.number(index, feature.default)

    def _text_of(self, name: str, record: Any, document: Any) -> str | None:
        """Return a member of a record or JSON document as text: strings as they are, other values as JSON."""
        for each in (record, document, features_of(document, self._by_name)):
            if isinstance(each, dict) and name in each:
                value = each[name]
                return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
        return self._partition.get(name)


def _is_number(feature: Feature) -> bool:
    return feature.kind in (Kind.NUMERIC, Kind.INTEGER) and feature.categories is None


def _text_column(schema: Schema, index: int, column: Any, leniency: Leniency, faults: Faults) -> Any:
    """Return a column of strings as float64 [n]."""
    feature = schema.features[index]
    if pa.types.is_floating(column.type):
        numbers = whole_column(feature, column.to_numpy())
        if numbers is not None:
            return numbers
        column = column.cast(pa.string())
    else:
        numbers = _numbers_of(feature, column)
    return numbers if numbers is not None else _by_distinct_text(schema, index, column, leniency, faults)


def _numbers_of(feature: Feature, column: Any) -> Any:
    """Return a column of numbers converted as a whole; None if a cell needs to be looked at by itself."""
    if not _is_number(feature):
        return None
    missing = pc.is_in(column, value_set=pa.array(EMPTY))
    if pc.any(missing).as_py():
        column = pc.if_else(missing, None, column)
    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return None
    return None if has_odd_nan([numbers]) else whole_column(feature, numbers.to_numpy(zero_copy_only=False))


def has_odd_nan(columns: Iterable[Any]) -> bool:
    """Return whether a column of numbers from text has a NaN: missing cells are null, so the text was one like `nan(1)`."""
    return any(pc.any(pc.is_nan(column)).as_py() for column in columns)


def _by_distinct_text(schema: Schema, index: int, column: Any, leniency: Leniency, faults: Faults) -> Any:
    """Return a column of strings in which each distinct text is read once."""
    encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = (
            pa.concat_arrays(encoded.chunks) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
        )
    texts = [text or "" for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return numbers_of_codes(schema, index, read_column(schema.features[index], texts), codes, leniency, faults)
