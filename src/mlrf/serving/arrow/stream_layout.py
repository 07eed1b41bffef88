"""The layout of a stream: which of its columns has the values of which feature, checked once for a schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidFeatureError, MissingFeatureError, UnknownFeatureError
from mlrf.core.feature import Feature, Kind, Value
from mlrf.core.flatbuffers import Table
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.arrow.base_margin_column import base_margin_index
from mlrf.serving.arrow.columns import Column, FieldField, TypeId, read_column
from mlrf.serving.arrow.number_columns import ColumnPlan, plan_columns
from mlrf.serving.arrow.stream import malformed

_SPARE_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a stream, and for each feature the index of its column; -1 for a feature that is left out."""

    number: int
    plan: ColumnPlan | None
    columns: tuple[Column, ...]
    dictionary_values: Mapping[int, Column]
    """The column that the values of each dictionary form, by the dictionary's number."""
    column_indices: tuple[int, ...]
    base_margin: int
    """The index of the column of base margins; ABSENT without one."""
    defaults: Mapping[str, Value]
    """The defaults of the features that are left out, by name."""


def read_layout(number: int, header: Table, size_bytes: int, schema: Schema, leniency: Leniency) -> Layout:
    """Return the layout of a schema message of so many bytes; an error names the column or feature that is wrong."""
    if header.number(0, "h", 0) != 0:
        raise malformed("its numbers are big-endian")
    features = schema.features
    if header.count(1) > len(features) + _SPARE_COLUMNS:
        raise UnknownFeatureError(f"the stream has {header.count(1)} columns, and the model {len(features)} features")
    if sum(field.count(FieldField.NAME) for field in header.tables(1)) > size_bytes:
        raise malformed("its columns share the bytes of a name")
    columns = tuple(read_column(field) for field in header.tables(1))
    found = find_columns(schema.names, [column.name for column in columns])
    if absent := [each.name for each in features if each.name not in found and not each.optional]:
        raise MissingFeatureError(
            f"the stream has no column {shown_name(absent[0])}; send one for every feature",
            feature=clip(absent[0]),
            missing=[clip(name) for name in absent[:20]],
        )
    base_margin = base_margin_index(columns, schema.names)
    known = {base_margin, *found.values()}
    extra = [column.name for index, column in enumerate(columns) if index not in known]
    if extra and leniency.unknown_features == "refuse":
        raise UnknownFeatureError(
            f"the column {shown_name(extra[0])} is not a feature of the model; drop it, or start the server with "
            "--unknown-features ignore",
            feature=clip(extra[0]),
            unknown=[clip(name) for name in extra[:20]],
        )
    for feature in features:
        column_index = found.get(feature.name)
        if column_index is not None and feature.kind is not Kind.CATEGORICAL:
            _check_type(feature, columns[column_index])
    indices = tuple(found.get(feature.name, -1) for feature in features)
    plan = plan_columns(columns, indices, [feature.categories is None for feature in features])
    # Reversed, because the first column of a dictionary counts.
    values = {each.dictionary: each.values for each in reversed(columns) if each.dictionary is not None and each.values}
    return Layout(number, plan, columns, values, indices, base_margin, schema.defaults_for(found))


def _check_type(feature: Feature, column: Column) -> None:
    """Raise InvalidFeatureError for a column of strings where the feature takes none."""
    kind = (column.values or column).type_id
    if kind in (TypeId.STRING, TypeId.LARGE_STRING, TypeId.STRING_VIEW):
        raise InvalidFeatureError(
            f"feature {feature.name!r} is {feature.kind.value}, and its column holds strings",
            feature=feature.name,
            expected="a column of numbers" if feature.kind is not Kind.BOOLEAN else "a column of booleans",
        )
