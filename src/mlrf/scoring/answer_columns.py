"""The columns of answers: predictions, labels, probabilities, margins and contributions of rows, as Arrow arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlrf.core.errors import ConfigError
from mlrf.model import Model
from mlrf.model.array_rows import Table
from mlrf.model.link_arrays import predictions_of
from mlrf.model.row_predictor import RowPredictor
from mlrf.scoring.contribution_columns import ContributionColumns, ExplanationForm

AnswerColumn = Literal["prediction", "label", "probabilities", "margin"]
ANSWER_COLUMNS: tuple[AnswerColumn, ...] = get_args(AnswerColumn)
_OF_CLASSIFIERS = ("label", "probabilities")


class AnswerColumns:
    """Answers rows of float64 with a model; ConfigError for a column that the model has not.

    `columns` None: the prediction, and for classifiers the label. `explain`: the number of largest contributions, or "all".
    """

    def __init__(
        self,
        model: Model,
        columns: Sequence[str] | None = None,
        explain: int | Literal["all"] | None = None,
        form: ExplanationForm = "wide",
    ) -> None:
        self._model = model
        if unknown := [each for each in columns or () if each not in ANSWER_COLUMNS]:
            raise ConfigError(f"columns: {unknown[0]!r} is none of {', '.join(ANSWER_COLUMNS)}")
        if model.classes is None and (absent := [each for each in columns or () if each in _OF_CLASSIFIERS]):
            raise ConfigError(
                f"columns: {model.name} has no classes (its task is {model.bundle.manifest.task}), so no {absent[0]}"
            )
        self.columns = tuple(
            columns if columns is not None else ["prediction", *(["label"] if model.classes is not None else [])]
        )
        self._predictor = RowPredictor(model.bundle, model.engine)
        self._outputs = _output_suffixes(model)
        self.contributions = (
            None if explain is None else ContributionColumns(model, self._predictor, self._outputs, explain, form)
        )

    @property
    def members(self) -> dict[str, list[str]]:
        """The names of the columns of each kind of answer, except those of contributions."""
        of = {
            "prediction": [f"prediction{suffix}" for suffix in self._outputs],
            "label": ["label"],
            "probabilities": [f"probability_{label}" for label in self._model.classes or ()],
            "margin": [f"margin{suffix}" for suffix in self._outputs],
        }
        return {each: of[each] for each in self.columns}

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        found = [name for names in self.members.values() for name in names]
        if self.contributions is None:
            return found
        none = np.empty((0, len(self._model.schema.names)))
        return [*found, *self.contributions.of_rows(none, self.margins(none))]

    @property
    def n_values(self) -> int:
        """Numbers that are computed for a row, for the memory that a batch takes."""
        explained = 0 if self.contributions is None else 3 * len(self._model.schema.names) * len(self._outputs)
        return 4 * len(self._outputs) + explained

    def of_rows(self, rows: Table) -> dict[str, Any]:
        """Return the answers of rows [n, F], without contributions, as Arrow arrays by name."""
        return self.of_margins(self.margins(rows))

    def margins(self, rows: Table) -> npt.NDArray[np.float64]:
        """Return the margins of rows [n, F], as [n, K]."""
        return np.frombuffer(self._model.engine.margins(rows.data), np.float64).reshape(-1, len(self._outputs))

    def of_margins(self, margins: npt.NDArray[np.float64]) -> dict[str, Any]:
        """Return the answers of margins [n, K], without contributions, as Arrow arrays by name."""
        predictions = predictions_of(self._model.bundle.link, margins)
        found: dict[str, Any] = {}
        for each in self.columns:
            match each:
                case "prediction":
                    found |= _by_output("prediction", self._outputs, predictions)
                case "margin":
                    found |= _by_output("margin", self._outputs, margins)
                case "label":
                    kind = self.label_type()
                    classes = pa.array(
                        [str(each) if kind == pa.string() else each for each in self._model.classes or ()], kind
                    )
                    found["label"] = classes.take(pa.array(self._class_indices(predictions)))
                case "probabilities":
                    shares = predictions
                    if len(self._outputs) == 1:
                        shares = np.column_stack([1.0 - predictions[:, 0], predictions[:, 0]])
                    suffixes = [f"_{label}" for label in self._model.classes or ()]
                    found |= _by_output("probability", suffixes, shares)
        return found

    def label_type(self) -> Any:
        """Return the Arrow type of labels; text if the classes are of several types."""
        kinds = {type(each) for each in self._model.classes or ()}
        if len(kinds) > 1:
            return pa.string()
        return {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}[kinds.pop()]

    def _class_indices(self, predictions: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        if len(self._outputs) == 1:
            return np.asarray(predictions[:, 0] >= self._predictor.least_of_second_class, np.int64)
        if np.isnan(predictions).any():
            return np.array(self._predictor.class_indices(predictions.tolist()), np.int64)
        return np.asarray(np.argmax(predictions, axis=1), np.int64)


def _by_output(name: str, suffixes: Sequence[str], values: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {f"{name}{suffix}": pa.array(values[:, index]) for index, suffix in enumerate(suffixes)}


def _output_suffixes(model: Model) -> list[str]:
    count = model.bundle.manifest.n_outputs
    return [""] if count == 1 else [f"_{each}" for each in (model.classes or range(count))]
