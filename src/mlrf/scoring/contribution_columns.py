"""The columns of contributions: wide, with a column for each, or long, with a row for each.

wide, all    base, contribution_FEATURE …                    (of several outputs: base_CLASS, contribution_CLASS_FEATURE)
wide, k      base, feature_1, contribution_1 …, other        the k largest, and the sum of the others
long, all    base, feature, contribution                     (of several outputs: also class)
long, k      base, feature, contribution, other

The k largest of a multiclass model are those of the predicted class. Base plus contributions (and `other`) is the margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlrf.core.errors import ConfigError
from mlrf.model import Model
from mlrf.model.array_rows import Table
from mlrf.model.row_predictor import RowPredictor

ExplanationForm = Literal["wide", "long"]
Values = npt.NDArray[np.float64]


class ContributionColumns:
    """Explains rows of float64; NotExplainableError for a model that cannot be explained, ConfigError for a wrong number."""

    def __init__(
        self,
        model: Model,
        predictor: RowPredictor,
        outputs: Sequence[str],
        top: int | Literal["all"],
        form: ExplanationForm,
    ) -> None:
        if form not in ("wide", "long"):
            raise ConfigError(f"the form of explanations is wide or long, not {form!r}")
        if top != "all" and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
            raise ConfigError(f"explain: give the number of largest contributions, from 1, or all, not {top!r}")
        if top != "all" and len(outputs) > 1 and model.classes is None:
            raise ConfigError(
                f"explain: {model.name} has {len(outputs)} outputs and none is predicted before the others; give all"
            )
        self._explainer = predictor.explainer()
        self._features = pa.array(model.schema.names)
        self._base = np.array(self._explainer.base)
        self._outputs = outputs
        self._classes = model.classes or list(range(len(outputs)))
        self._top = None if top == "all" else min(top, len(model.schema.names))
        self.form = form

    @property
    def rows_per_row(self) -> int:
        """Rows of the output for a row of the input."""
        if self.form == "wide":
            return 1
        return self._top or len(self._features) * len(self._outputs)

    def of_rows(self, rows: Table, margins: Values) -> dict[str, Any]:
        """Return the columns for rows [n, F] with these margins [n, K]: n values each, or n x `rows_per_row` if long."""
        shape = (*rows.shape, len(self._outputs))
        values = np.frombuffer(self._explainer.contributions_many(rows.data, 1), np.float64).reshape(shape)
        if self._top is not None:
            return self._largest(values, margins)
        return self._all_wide(values) if self.form == "wide" else self._all_long(values)

    def _all_wide(self, values: Values) -> dict[str, Any]:
        n_rows = len(values)
        found: dict[str, Any] = {}
        for output, suffix in enumerate(self._outputs):
            found[f"base{suffix}"] = pa.array(np.full(n_rows, self._base[output]))
        for output, suffix in enumerate(self._outputs):
            for index, feature in enumerate(self._features.to_pylist()):
                found[f"contribution{suffix}_{feature}"] = pa.array(values[:, index, output])
        return found

    def _all_long(self, values: Values) -> dict[str, Any]:
        n_rows, n_features, n_outputs = values.shape
        found: dict[str, Any] = {}
        if n_outputs > 1:
            classes = pa.array([str(each) for each in self._classes])
            found["class"] = classes.take(pa.array(np.tile(np.repeat(np.arange(n_outputs), n_features), n_rows)))
        found["base"] = pa.array(np.tile(np.repeat(self._base, n_features), n_rows))
        found["feature"] = self._features.take(pa.array(np.tile(np.arange(n_features), n_rows * n_outputs)))
        found["contribution"] = pa.array(np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(-1))
        return found

    def _largest(self, values: Values, margins: Values) -> dict[str, Any]:
        every = np.arange(len(values))
        chosen = np.zeros(len(values), np.int64)
        if len(self._outputs) > 1:
            chosen = np.argmax(np.where(np.isnan(margins), -np.inf, margins), axis=1)
        own = values[every, :, chosen]
        order = np.argsort(-np.abs(own), axis=1, kind="stable")
        largest = np.take_along_axis(own, order[:, : self._top], axis=1)
        other = np.take_along_axis(own, order[:, self._top :], axis=1).sum(axis=1)
        base = self._base[chosen]
        if self.form == "wide":
            found: dict[str, Any] = {"base": pa.array(base)}
            for rank in range(largest.shape[1]):
                found[f"feature_{rank + 1}"] = self._features.take(pa.array(order[:, rank]))
                found[f"contribution_{rank + 1}"] = pa.array(np.ascontiguousarray(largest[:, rank]))
            return {**found, "other": pa.array(other)}
        times = largest.shape[1]
        return {
            "base": pa.array(np.repeat(base, times)),
            "feature": self._features.take(pa.array(order[:, :times].reshape(-1))),
            "contribution": pa.array(largest.reshape(-1)),
            "other": pa.array(np.repeat(other, times)),
        }
