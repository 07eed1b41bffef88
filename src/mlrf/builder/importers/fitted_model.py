"""A fitted tree model that is part of something else, read by its library: a pipeline's last step, a combination's member."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlrf.builder.importers import catboost, lightgbm, sklearn, xgboost
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions, Library
from mlrf.builder.model_source import ModelObject

_LIBRARIES: tuple[Library, ...] = (lightgbm.LIBRARY, xgboost.LIBRARY, catboost.LIBRARY, sklearn.LIBRARY)


def read_fitted_model(estimator: Any, options: ImportOptions) -> ImportedModel | None:
    """Return the imported model of a fitted estimator; None when it is of no library that mlrf reads trees of.

    The options' category lists are for the whole, and not given to its part. Raises the BuildError of the library's importer.
    """
    source = ModelObject(estimator)
    for library in _LIBRARIES:
        if any(source.is_of(package) for package in library.packages):
            found = library.read(source, replace(options, categories={}))
            if isinstance(found, ImportedModel):
                return found
    return None
