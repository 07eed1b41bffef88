"""A model as a fitted scikit-learn estimator, for pipelines, inspection, calibration and metrics.

1. `predict` returns what `predict` of the source library's scikit-learn class returns: labels of a classifier, numbers of a
   regressor. `Model.predict` returns what the library's booster does.
2. A bundle cannot be trained: `fit` raises, and a clone is the estimator itself, as with scikit-learn's FrozenEstimator.
3. Errors that scikit-learn expects to be a ValueError are one, with the text of the mlrf error, which is their cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.feature import Category
from mlrf.model.row_predictor import RowPredictor
from mlrf.model.table_model import TableModel

_LINKS_AT_ZERO = ("sigmoid", "softmax", "sigmoid_each")
"""Links whose classes follow from margins: a margin above 0, or the largest. Forests sum probabilities instead."""


class BundleEstimator(BaseEstimator):  # type: ignore[misc]
    """The common part of the classifiers and regressors of bundles: features, tags, and a `fit` that raises."""

    def __init__(self, model: TableModel) -> None:
        self.model = model

    @property
    def n_features_in_(self) -> int:
        """The number of features F."""
        return len(self.model.schema.features)

    @property
    def feature_names_in_(self) -> npt.NDArray[Any]:
        """The names of the features [F], in schema order."""
        return np.array(self.model.schema.names, dtype=object)

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:  # noqa: ARG002, N803  scikit-learn's names
        """Raise ConfigError: a bundle holds a trained model."""
        raise ConfigError(
            f"{self.model.name} is trained already and cannot be fitted; wrap it in sklearn.frozen.FrozenEstimator, whose fit "
            "does nothing, or train the library's own estimator"
        )

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        features = self.model.schema.features
        tags.input_tags.allow_nan = all(feature.nullable for feature in features)
        tags.input_tags.categorical = any(feature.categories is not None for feature in features)
        tags.input_tags.string = tags.input_tags.categorical
        tags.requires_fit = False
        return tags


class BundleRegressor(RegressorMixin, BundleEstimator):  # type: ignore[misc]
    """A regressor, ranker or other model without classes as a fitted scikit-learn regressor."""

    def predict(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the predictions [n], or [n, K]; ValueError names the row, feature and invalid value."""
        return _numbers(self.model.predict, X)


class BundleClassifier(ClassifierMixin, BundleEstimator):  # type: ignore[misc]
    """A classifier as a fitted scikit-learn classifier; `classes` are its labels in the order of its outputs."""

    def __init__(self, model: TableModel, classes: Sequence[Category]) -> None:
        super().__init__(model)
        self.classes = classes

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class labels, in the order of the columns of `predict_proba`."""
        kinds = {type(label) for label in self.classes}
        # NumPy would convert labels of several types to text.
        return np.array(self.classes, dtype=None if len(kinds) == 1 else object)

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the class label of each row [n]; ValueError names the row, feature and invalid value."""
        predictions = _numbers(self.model.predict, X).tolist()
        return self.classes_[RowPredictor(self.model.bundle, self.model.engine).class_indices(predictions)]

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the probabilities [n, classes], clipped to [0, 1], which some sums of trees leave; errors as of `predict`."""
        return np.clip(_numbers(self.model.probabilities, X), 0.0, 1.0)

    def predict_log_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _classes_follow_from_margins(self) -> bool:
        return self.model.bundle.link.kind in _LINKS_AT_ZERO

    @available_if(_classes_follow_from_margins)  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the raw margins: [n] for two classes (above 0: the second), otherwise [n, K]; errors as for `predict`.

        Not available for models whose trees vote or average probabilities (forests).
        """
        return _numbers(self.model.margin, X)


class BundleTargetsClassifier(ClassifierMixin, BundleEstimator):  # type: ignore[misc]
    """A classifier of several targets as a fitted scikit-learn classifier, as scikit-learn's forests of several outputs are."""

    @property
    def classes_(self) -> list[npt.NDArray[Any]]:
        """The class labels of each target, in the order of the columns of its `predict_proba`."""
        return [np.array(labels) for labels in self.model.bundle.manifest.targets]

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the class labels [n, targets]; ValueError names the row, feature and invalid value."""
        shares = self.predict_proba(X)
        chosen = [labels.take(np.argmax(share, axis=1)) for labels, share in zip(self.classes_, shares, strict=True)]
        return np.column_stack(chosen)

    def predict_proba(self, X: Any) -> list[npt.NDArray[np.float64]]:  # noqa: N803
        """Return the probabilities of each target's classes, a list of [n, classes]; errors as of `predict`."""
        shares = np.clip(_numbers(self.model.predict, X), 0.0, 1.0)
        ends = np.cumsum([len(labels) for labels in self.model.bundle.manifest.targets])
        return np.split(shares, ends[:-1], axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def as_estimator(
    model: TableModel, classes: Sequence[Category] | None
) -> BundleClassifier | BundleTargetsClassifier | BundleRegressor:
    """Return a model as an estimator; ConfigError if its labels are unknown, or `classes` do not match it."""
    if model.bundle.manifest.targets and classes is None:
        return BundleTargetsClassifier(model)
    if model.classes is None:
        if classes is not None:
            raise ConfigError(
                f"{model.name} is not a classifier (its task is {model.bundle.manifest.task}); leave classes out"
            )
        return BundleRegressor(model)
    if classes is None:
        if model.bundle.manifest.predict_returns != "label":
            raise ConfigError(
                f"the bundle of {model.name} does not know its class labels: pass classes={list(model.classes)}, or the "
                "labels in the order of the model's outputs, or build it with them (classes=…, --classes)"
            )
        return BundleClassifier(model, list(model.classes))
    if len(classes) != len(model.classes):
        raise ConfigError(f"{model.name} has {len(model.classes)} classes, not the {len(classes)} of {list(classes)}")
    return BundleClassifier(model, list(classes))


def _numbers(call: Callable[[Any], npt.NDArray[np.float64]], rows: Any) -> npt.NDArray[np.float64]:
    try:
        return call(rows)
    except InvalidRequestError as error:
        raise ValueError(str(error)) from error
