"""`RowPredictor`: predictions, labels and explanations of decoded rows, for servers and commands.

It returns plain floats and does not use NumPy. It is not part of the Python API; `Model` is.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from mlrf.core.bundle import Bundle
from mlrf.core.errors import NonFiniteResultError, NotExplainableError
from mlrf.core.feature import Category
from mlrf.engines.interface import Engine, Explainer, Row, Rows

if TYPE_CHECKING:
    from mlrf.model.leaves import Leaves
    from mlrf.model.stored_games import StoredGames

Prediction = float | list[float]
"""The prediction of a row, as the training library's `predict` returns it: a number, or K numbers for a multiclass model."""

_HALF = 0.5


class RowPredictor:
    """A bundle and the engine that computes its margins."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self.engine = engine
        self.schema = bundle.schema
        self.classes: list[Category] | None = bundle.manifest.classes
        self._n_outputs = bundle.manifest.n_outputs
        self.least_of_second_class = _HALF if bundle.manifest.class_at_half else math.nextafter(_HALF, 1.0)
        self._one = None if bundle.link.is_vector or self._n_outputs > 1 else bundle.link.scalar()
        self._many = bundle.link.vector()
        explains = bundle.manifest.graph is None and bundle.manifest.covers != "none"
        # Once, because checking whether an object implements a protocol takes some 3 µs.
        self._explainer = engine if explains and isinstance(engine, Explainer) else None
        self._leaves: Leaves | None = None
        self._games: StoredGames | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.bundle.name

    def predict_row(self, row: Row) -> Prediction:
        """Return the prediction of one row; NonFiniteResultError when it is not a finite number."""
        return self.prediction(self.engine.margin(row))

    def prediction(self, margins: Sequence[float]) -> Prediction:
        """Return the prediction of a row's K margins; NonFiniteResultError when it is not finite."""
        if self._one is not None:
            number = self._one(margins[0])
            if math.isfinite(number):
                return number
        else:
            numbers = self._many(margins)
            if all(map(math.isfinite, numbers)):
                return numbers
        raise NonFiniteResultError(
            "the model's prediction for this row is not a finite number; its features are too extreme, or the model does not "
            "support them"
        )

    def predictions(self, margins: Sequence[float]) -> list[Prediction]:
        """Return the predictions of n x K margins; NonFiniteResultError names the first row whose prediction is not finite."""
        k = self._n_outputs
        if self._one is not None:
            numbers = list(map(self._one, margins))
            if all(map(math.isfinite, numbers)):
                return [*numbers]
        answers = []
        for index in range(len(margins) // k):
            try:
                answers.append(self.prediction(margins[index * k : (index + 1) * k]))
            except NonFiniteResultError as error:
                raise NonFiniteResultError(f"instance {index}: {error}", index=index) from error
        return answers

    def table(self, rows: Sequence[Row]) -> array[float]:
        """Return rows as one float64 buffer [n, F], missing as NaN: the input of the engine's `margins`."""
        try:
            return array("d", list(chain.from_iterable(rows)))  # type: ignore[arg-type]
        except TypeError:  # a missing value as None
            nan = math.nan
            return array("d", [nan if x is None else x for row in rows for x in row])

    def leaves(self) -> Leaves:
        """Return what finds the leaves that rows reach; InvalidRequestError for a model without leaf numbers."""
        if self._leaves is None:
            from mlrf.model.leaves import Leaves  # noqa: PLC0415  few callers ask

            self._leaves = Leaves(self.bundle, self.engine)
        return self._leaves

    def margins_from(self, rows: Rows, base_margins: Sequence[float]) -> array[float]:
        """Return margins [n, K] that start at base margins [n, K]; errors as of `base_margins.margins_from`."""
        from mlrf.model.base_margins import margins_from  # noqa: PLC0415  few callers ask

        return margins_from(self.bundle, self.engine, rows, base_margins)

    def games(self) -> StoredGames:
        """Return the games that the files of the bundle allow; errors as of `explainer`."""
        if self._games is None:
            from mlrf.model.stored_games import StoredGames  # noqa: PLC0415  few requests choose one

            self._games = StoredGames(self.bundle, self.explainer())
        return self._games

    @property
    def explains(self) -> bool:
        """Whether `explainer` returns."""
        return self._explainer is not None

    def explainer(self) -> Explainer:
        """Return the engine as an Explainer; NotExplainableError if it cannot explain, or if covers are missing."""
        if self._explainer is not None:
            return self._explainer
        if self.bundle.manifest.graph is not None:
            raise NotExplainableError(
                f"{self.name} is a graph of operators, which cannot be explained; only tree ensembles can"
            )
        combination = self.bundle.manifest.combination
        if combination is not None and combination.row_coefficients:
            raise NotExplainableError(
                f"{self.name} adds multiples of the row's own numbers (a stack with passthrough=True), and the model does not "
                "keep their means, which Shapley values need; send the request without explanations"
            )
        if combination is not None and not isinstance(self.engine, Explainer):
            raise NotExplainableError(
                f"{self.name} combines its members by functions that are not linear, so their Shapley values do not add up to "
                "its answer; send the request without explanations"
            )
        if (facts := self.bundle.manifest.facts) is not None and facts.linear_leaves:
            raise NotExplainableError(
                f"{self.name} has linear leaves (linear_tree), for which neither LightGBM nor mlrf has Shapley values; send "
                "the request without explanations"
            )
        if self.bundle.manifest.covers == "none":
            raise NotExplainableError(
                "the model file lacks the number of training rows per branch, which explanations need; build it again "
                "with --sample to estimate them"
            )
        raise NotExplainableError(
            f"the engine {self.engine.name!r} cannot explain; use the engine trees",
            engine=self.engine.name,
        )

    def label_of(self, prediction: Prediction) -> Category | None:
        """Return the class of a prediction: class 1 above 0.5, the largest of several; None unless a classifier.

        At exactly 0.5 it is the class that the training library chooses.
        """
        if self.classes is None:
            return None
        if isinstance(prediction, list):
            return self.classes[max(range(len(prediction)), key=prediction.__getitem__)]
        return self.classes[1 if prediction >= self.least_of_second_class else 0]

    def class_indices(self, predictions: Sequence[Prediction]) -> list[int]:
        """Return the index in `classes` of each prediction's class, as of `label_of`; for a classifier."""
        least = self.least_of_second_class
        return [
            max(range(len(each)), key=each.__getitem__) if isinstance(each, list) else int(each >= least)
            for each in predictions
        ]

    def probabilities_of(self, prediction: Prediction) -> list[float] | None:
        """Return the probability of each class in the order of `classes`; None unless a classifier."""
        if self.classes is None:
            return None
        return prediction if isinstance(prediction, list) else [1.0 - prediction, prediction]
