"""Converts the tensors of a request to a table of rows, or to the keys of rows: one tensor of all features, or one per feature.

One tensor [n, F] has rows in schema order, categories as codes, like a JSON array. One tensor per feature has
categories by value, like a JSON object. Whatever the datatype, a value is checked by the rules of its feature.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mlrf.core.column_rules import ColumnRule, ColumnRules, rule_by_value
from mlrf.core.errors import BatchTooLargeError, EmptyBatchError, InvalidRequestError, InvalidTensorError
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip, shown_name
from mlrf.engines.interface import Rows
from mlrf.features.entity_key import EntityKey
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.oip.datatypes import DATATYPES, FP64, Buffer, Datatype
from mlrf.serving.oip.messages import MOST_DIMENSIONS, InputTensor
from mlrf.serving.oip.tensor_columns import category_column, key_column, number_column

ONE_TENSOR = "features"
ALSO_KNOWN = {
    ONE_TENSOR: "",
    "input__0": "output__0",
    "input-0": "output-0",
    "input-1": "output-1",
    "predict": "predict",
}
"""Names under which other servers' clients send the single tensor, and the name of the first output then ("": the usual
one)."""
BASE_MARGIN_INPUTS = frozenset(("base_margin", "init_score"))
_SHOWN = 5


Table = tuple[int, Rows]
"""The number of rows, and the rows for an engine: n x F float64, missing as NaN, every value valid."""


class TensorReader:
    """Reads the tensors of one schema, and of one key if rows are stored."""

    def __init__(
        self, schema: Schema, leniency: Leniency, max_rows: int, entity_key: EntityKey | None, max_keys: int
    ) -> None:
        self._schema = schema
        self._leniency = leniency
        self.max_rows = max_rows
        self._key = entity_key
        self.has_key = entity_key is not None
        self._max_keys = max_keys
        self.most_values = max_rows * len(schema.features)
        """A tensor with more is refused for its shape."""
        self._names = frozenset(schema.names)
        of_key = () if entity_key is None else entity_key.names
        self.may_have_base_margin = BASE_MARGIN_INPUTS.isdisjoint((*schema.names, *of_key))
        """Whether an input of that name is not a feature or a field of the key."""
        self.one_tensor_names = [name for name in ALSO_KNOWN if name not in self._names and name not in of_key]
        """Names under which a tensor of all features is certainly no other one."""
        self._rules = schema.column_rules
        self._rules_by_value = ColumnRules(map(rule_by_value, schema.features))

    @property
    def rules(self) -> Sequence[ColumnRule]:
        """Which numbers each feature takes in a tensor of all features."""
        return self._rules.rules

    def is_by_key(self, inputs: Sequence[InputTensor]) -> bool:
        """Whether the inputs are exactly the fields of the key; if these are also exactly the features, they are not a key."""
        if self._key is None or len(inputs) != len(self._key.names):
            return False
        names = {each.name for each in inputs}
        return names == set(self._key.names) and names != self._names

    def table(self, inputs: Sequence[InputTensor]) -> Table:
        """Return the rows in the inputs; InvalidRequestError or BatchTooLargeError names tensor, value and remedy."""
        if len(inputs) == 1 and inputs[0].name in ALSO_KNOWN and inputs[0].name not in self._names:
            return self._whole(inputs[0])
        return self._by_feature(inputs)

    def keys(self, inputs: Sequence[InputTensor]) -> list[ByKey]:
        """Return the keys in the inputs; errors as in `table`, and InvalidKeyError for an invalid value."""
        if self._key is None:
            raise AssertionError("keys are read only for a model with rows by key")
        named = self._named(inputs)
        count = self._n_rows(list(named.values()), self._max_keys)
        columns = {f.name: key_column(named[f.name], checked(named[f.name], count), f.type) for f in self._key.fields}
        keys = []
        for row in range(count):
            try:
                keys.append(ByKey(self._key.encode({name: column[row] for name, column in columns.items()})))
            except InvalidRequestError as error:
                raise _at_row(error, row) from error
        return keys

    def _whole(self, tensor: InputTensor) -> Table:
        width = len(self._schema.features)
        shape = tensor.shape
        if len(shape) != MOST_DIMENSIONS or shape[1] != width:
            raise InvalidTensorError(
                f"input {shown_name(tensor.name)}: the shape {_shown_shape(shape)} is not [rows, {width}]; send rows of the "
                f"{width} features in the order of the model's metadata, or one tensor per feature",
                input=tensor.name,
                shape=_detail(shape),
            )
        count = shape[0]
        if not 0 < count <= self.max_rows:
            self._check_count(tensor, count, self.max_rows)
        datatype = checked(tensor, count * width)
        is_ready = datatype is FP64 and isinstance(tensor.data, Buffer)
        rows: Any = tensor.data if is_ready else number_column(tensor, datatype)
        if self._rules.first_outside(rows) is not None:
            rows = self._admitted(rows, tensor)
        return count, rows

    def _by_feature(self, inputs: Sequence[InputTensor]) -> Table:
        named = self._named(inputs)
        self._check_names(named)
        features = self._schema.features
        ordered = [named[feature.name] for feature in features]
        count = self._n_rows(ordered, self.max_rows)
        width = len(features)
        table = array("d", bytes(FP64.width)) * (count * width)
        for index, (feature, tensor) in enumerate(zip(features, ordered, strict=True)):
            datatype = checked(tensor, count)
            if feature.categories is None:
                column = number_column(tensor, datatype)
            else:
                column = category_column(self._schema, index, tensor, datatype, self._leniency)
            table[index::width] = column
        return count, self._admitted(table, None, self._rules_by_value)

    def _named(self, inputs: Sequence[InputTensor]) -> dict[str, InputTensor]:
        named = {each.name: each for each in inputs}
        if len(named) != len(inputs):
            times = Counter(each.name for each in inputs)
            twice = next(name for name, n in times.items() if n > 1)
            raise InvalidTensorError(f"two inputs are named {shown_name(twice)}; send each once", input=clip(twice))
        return named

    def _check_names(self, named: dict[str, InputTensor]) -> None:
        missing = [name for name in self._schema.names if name not in named]
        unknown = [name for name in named if name not in self._names]
        if missing:
            what = f"is missing, and {shown_name(unknown[0])} is not an input of the model" if unknown else "is missing"
            shown = ", ".join(map(shown_name, missing[:_SHOWN]))
            raise InvalidTensorError(
                f"input {shown_name(unknown[0])} is not an input of this model; send one tensor {ONE_TENSOR!r} [rows, "
                f"{len(self._schema.names)}], or one a feature: {shown}{' …' if len(missing) > _SHOWN else ''}"
                if unknown
                else f"input {shown_name(missing[0])} {what}; send a tensor for each of the model's features, or one tensor "
                f"{ONE_TENSOR!r} [rows, {len(self._schema.names)}]",
                input=clip((unknown or missing)[0]),
                missing=[clip(name) for name in missing[:20]],
                unknown=[clip(name) for name in unknown[:20]],
            )
        if unknown and self._leniency.unknown_features == "refuse":
            raise InvalidTensorError(
                f"input {shown_name(unknown[0])} is not a feature of the model; leave it out",
                input=clip(unknown[0]),
                unknown=[clip(name) for name in unknown[:20]],
            )

    def _n_rows(self, tensors: Sequence[InputTensor], most: int) -> int:
        """Return the rows in tensors of one value per row, all with the same number of rows."""
        count = tensors[0].shape[0] if tensors[0].shape else 0
        for tensor in tensors:
            shape = tensor.shape
            if not shape or len(shape) > MOST_DIMENSIONS or (len(shape) == MOST_DIMENSIONS and shape[1] != 1):
                raise InvalidTensorError(
                    f"input {shown_name(tensor.name)}: the shape {_shown_shape(shape)} is neither [rows] nor [rows, 1]; send "
                    "[rows, 1]",
                    input=tensor.name,
                    shape=_detail(shape),
                )
            if shape[0] != count:
                raise InvalidTensorError(
                    f"input {shown_name(tensor.name)} has {_shown_number(shape[0])} rows, but {shown_name(tensors[0].name)} "
                    f"has {_shown_number(count)}; send the same number",
                    input=tensor.name,
                    shape=_detail(shape),
                )
        self._check_count(tensors[0], count, most)
        return count

    def _check_count(self, tensor: InputTensor, count: int, most: int) -> None:
        if count < 0:
            raise InvalidTensorError(
                f"input {shown_name(tensor.name)}: a dimension of the shape {_shown_shape(tensor.shape)} is negative; send the "
                "number of rows",
                input=tensor.name,
                shape=_detail(tensor.shape),
            )
        if count > most:
            raise BatchTooLargeError(
                f"input {shown_name(tensor.name)} has {_shown_number(count)} rows, more than the {most} of a request; send "
                "several requests",
                max_rows=most,
                input=tensor.name,
            )
        if not count:
            raise EmptyBatchError(f"input {shown_name(tensor.name)} has no rows; send one or more", input=tensor.name)

    def _admitted(self, rows: Rows, tensor: InputTensor | None, of_columns: ColumnRules | None = None) -> Rows:
        """Return a table in which every value is valid for its feature; raises the error of the first that is not."""
        of_columns = of_columns or self._rules
        first = of_columns.first_outside(rows)
        if first is None:
            return rows
        table = array("d")
        table.frombytes(memoryview(rows).cast("B"))
        rules, width = of_columns.rules, len(of_columns.rules)
        for position in range(first, len(table)):
            row, column = divmod(position, width)
            x = table[position]
            if rules[column].admits(x):
                continue
            try:
                value = self._schema.number(column, None if math.isnan(x) else x, self._leniency, by_code=True)
            except InvalidRequestError as error:
                name = self._schema.names[column] if tensor is None else tensor.name
                raise _at_row(error, row, name) from error
            table[position] = value
        return table


def checked(tensor: InputTensor, count: int) -> Datatype:
    """Return the datatype of a tensor with `count` elements; raises InvalidTensorError."""
    datatype = DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)}: the datatype {shown_name(tensor.datatype)} is not supported; send one of "
            f"{', '.join(DATATYPES)}",
            input=tensor.name,
            datatype=clip(tensor.datatype),
        )
    data = tensor.data
    got = len(data)
    if isinstance(data, Buffer):
        if not datatype.width:
            return datatype
        expected, unit = count * datatype.width, "bytes"
    else:
        expected, unit = count, "values"
    if got != expected:
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)}: shape {_shown_shape(tensor.shape)} of {datatype.name} needs {expected} {unit}, "
            f"but the data has {got}; send the right amount of data, or its shape",
            input=tensor.name,
            shape=_detail(tensor.shape),
            expected=expected,
            got=got,
        )
    return datatype


def _at_row(error: InvalidRequestError, row: int, name: str | None = None) -> InvalidRequestError:
    where = f"row {row}" if name is None else f"input {shown_name(name)}, row {row}"
    details: dict[str, Any] = {"index": row} | ({} if name is None else {"input": name})
    return type(error)(f"{where}: {error}", **(details | error.details))


def _shown_shape(shape: Sequence[int]) -> str:
    listed = ", ".join(map(_shown_number, shape[:_SHOWN]))
    return f"[{listed}{', …' if len(shape) > _SHOWN else ''}]"


def _shown_number(number: int) -> str:
    return str(number) if abs(number) < 1 << 63 else "a number outside 64 bits"


def _detail(shape: Sequence[int]) -> list[int | str]:
    return [each if abs(each) < 1 << 63 else _shown_number(each) for each in shape[:_SHOWN]]
