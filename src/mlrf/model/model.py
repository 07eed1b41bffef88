"""`Model`: a bundle in Python. Its parts are not part of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.feature import Category
from mlrf.engines.selection import open_engine
from mlrf.model.table_model import TableModel

if TYPE_CHECKING:
    from mlrf.model.estimator import BundleClassifier, BundleRegressor, BundleTargetsClassifier


class Model(TableModel):
    """A bundle, ready to predict tables of rows: what `mlrf.load` returns.

    `schema` names the features in their order; `classes` are a classifier's labels in the order of its outputs, else None;
    `bundle` and `engine` say what is loaded. It can be shown in a notebook, pickled, and used as a scikit-learn estimator.
    """

    def __repr__(self) -> str:
        from mlrf.model.description import describe  # noqa: PLC0415

        return describe(self.bundle, self.engine)

    def _repr_html_(self) -> str:
        """Return the model's facts and features as HTML, for a notebook."""
        from mlrf.model.description import describe_html  # noqa: PLC0415

        return describe_html(self.bundle, self.engine)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy or pickle contains no trees: it opens the same version of the bundle again when it is loaded.
        return _reopen, (str(self.bundle.path), self.bundle.version, self.engine.name)

    def as_estimator(
        self, classes: Sequence[Category] | None = None
    ) -> BundleClassifier | BundleTargetsClassifier | BundleRegressor:
        """Return this model as a fitted scikit-learn estimator, whose `predict` returns a classifier's labels.

        `classes` are the labels in the order of the model's outputs, if the bundle does not have them. ConfigError if they are
        needed or do not match, or if scikit-learn is not installed.
        """
        try:
            from mlrf.model.estimator import as_estimator  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(f"an estimator needs scikit-learn: pip install scikit-learn ({error})") from error
        return as_estimator(self, classes)


def _reopen(path: str, version: str, engine: str) -> Model:
    """Return the model that was pickled; BundleError when its bundle is gone, damaged, or another version."""
    try:
        bundle = read_bundle(path)
    except BundleError as error:
        raise BundleError(
            f"{error} (a pickled model opens its bundle again: version {version[:12]} must be at {path})",
            **error.details,
        ) from error
    if bundle.version != version:
        raise BundleError(
            f"{path}: the pickled model is version {version[:12]} of its bundle, and version {bundle.short_version} is there; "
            "pickle the model again, or load the bundle by its path"
        )
    return Model(bundle, open_engine(bundle, engine))
