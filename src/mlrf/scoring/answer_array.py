"""`ArrayScorer`: one Arrow value for each row of a table, as functions of SQL engines and data frames return it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.feature import Category
from mlrf.core.leniency import Leniency, UnknownCategories
from mlrf.model.row_predictor import RowPredictor
from mlrf.scoring.scorer import Scorer

_LABEL_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


@dataclass(frozen=True, slots=True)
class AnswerFields:
    """What is returned for each row in addition to the prediction."""

    label: bool = False
    probabilities: bool = False
    margin: bool = False
    contributions: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything but the prediction."""
        return self.label or self.probabilities or self.margin or self.contributions


class ArrayScorer:
    """Returns the predictions of Arrow tables as one array of type `type`: numbers, or structs if there is more to return.

    The fields of a struct are `prediction` and those of `fields`: `label`; `probabilities`, a struct by class; `margin`;
    `contributions`, a struct by feature (by class, then feature, for several outputs) with the `base` that they start from.
    Predictions, margins and bases of several outputs are structs by class, or by the number of the output.
    A pickle contains the bundle's path and version.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        fields: AnswerFields | None = None,
        *,
        unknown_categories: UnknownCategories = "refuse",
        version: str | None = None,
    ) -> None:
        self.scorer = Scorer(bundle, unknown_categories=unknown_categories, version=version)
        self.fields = fields or AnswerFields()
        self.model = model = self.scorer.model
        if (self.fields.label or self.fields.probabilities) and model.classes is None:
            wrong = "label" if self.fields.label else "probabilities"
            raise ConfigError(f"{wrong}: {model.name} has no classes (its task is {model.bundle.manifest.task})")
        if self.fields.contributions:
            RowPredictor(model.bundle, model.engine).explainer()
        self._leniency = Leniency("ignore", unknown_categories, "python", natural=True)
        self._n_outputs = model.bundle.manifest.n_outputs
        self._outputs = [str(each) for each in model.classes or range(self._n_outputs)] if self._n_outputs > 1 else []
        self.type = self._type()

    def __call__(self, table: Any) -> Any:
        """Return the answers of an Arrow table as an Array; InvalidRequestError names the feature and the invalid value.

        The error names no row: engines split tables into batches as they like.
        """
        try:
            return self._answers(table)
        except InvalidRequestError as error:
            details = dict(error.details)
            row = details.pop("row", None)
            raise type(error)(str(error).removeprefix(f"row {row}: "), **details) from error

    def _answers(self, table: Any) -> Any:
        model, fields = self.model, self.fields
        predictions = model.predict(table, self._leniency)
        answers = [self._by_output(predictions)]
        if not fields.any:
            return answers[0]
        rows = RowPredictor(model.bundle, model.engine)
        if fields.label:
            classes = model.classes or []
            labels = [classes[index] for index in rows.class_indices(predictions.tolist())]
            answers.append(pa.array(labels, _label_type(model.name, classes)))
        if fields.probabilities:
            classes = model.classes or []
            shares = np.array([rows.probabilities_of(each) for each in predictions.tolist()], dtype=np.float64)
            answers.append(_struct([str(each) for each in classes], shares.reshape(-1, len(classes))))
        if fields.margin:
            answers.append(self._by_output(model.margin(table, self._leniency)))
        if fields.contributions:
            found = model.explain(table, self._leniency)
            answers.append(self._by_output(np.broadcast_to(found.base, (len(table), *np.shape(found.base)))))
            answers.append(self._contributions(found.values))
        return pa.StructArray.from_arrays(answers, fields=list(self.type))

    def _by_output(self, values: Any) -> Any:
        """Return values [n] as numbers, [n, K] as structs."""
        return _struct(self._outputs, values) if self._outputs else pa.array(values)

    def _contributions(self, values: Any) -> Any:
        names = self.model.schema.names
        if not self._outputs:
            return _struct(names, values)
        parts = [_struct(names, values[:, :, output]) for output in range(self._n_outputs)]
        return pa.StructArray.from_arrays(parts, names=self._outputs)

    def _type(self) -> Any:
        one = _struct_type(dict.fromkeys(self._outputs, pa.float64())) if self._outputs else pa.float64()
        if not self.fields.any:
            return one
        kinds = {"prediction": one}
        classes = self.model.classes or []
        if self.fields.label:
            kinds["label"] = _label_type(self.model.name, classes)
        if self.fields.probabilities:
            kinds["probabilities"] = _struct_type({str(each): pa.float64() for each in classes})
        if self.fields.margin:
            kinds["margin"] = one
        if self.fields.contributions:
            by_feature = _struct_type(dict.fromkeys(self.model.schema.names, pa.float64()))
            kinds["base"] = one
            kinds["contributions"] = (
                _struct_type(dict.fromkeys(self._outputs, by_feature)) if self._outputs else by_feature
            )
        return _struct_type(kinds)


def _struct_type(kinds: Mapping[str, Any]) -> Any:
    return pa.struct(list(kinds.items()))


def _struct(names: Sequence[str], values: Any) -> Any:
    """Return values [n, len(names)] as an array of n structs."""
    return pa.StructArray.from_arrays([pa.array(values[:, index]) for index in range(len(names))], names=list(names))


def _label_type(model: str, classes: Sequence[Category]) -> Any:
    kinds = {type(each) for each in classes}
    if len(kinds) > 1:
        raise ConfigError(f"the classes of {model} are of several types, which no column of a table can hold")
    return _LABEL_TYPES[kinds.pop()]
