"""Reads a fitted tree model that is part of a larger object: the last step of a pipeline, or a member of a combination."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlrf.builder.importers import catboost, lightgbm, sklearn, xgboost
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.interface import Library
from mlrf.builder.model_source import ModelObject
from mlrf.core.errors import UnsupportedModelError

_LIBRARIES: tuple[Library, ...] = (lightgbm.LIBRARY, xgboost.LIBRARY, catboost.LIBRARY, sklearn.LIBRARY)


def read_fitted_model(estimator: Any, options: ImportOptions) -> ImportedModel | None:
    """Return the imported model of a fitted estimator; None if it is not of a library whose trees mlrf reads.

    The options' category lists are for the whole object, and are not passed on. Raises the BuildError of the library's
    importer.
    """
    source = ModelObject(estimator)
    for library in _LIBRARIES:
        if any(source.is_of(package) for package in library.packages):
            found = library.read(source, replace(options, categories={}))
            if isinstance(found, ImportedModel):
                if found.forest.linear is not None:
                    raise UnsupportedModelError(
                        f"the {type(estimator).__name__} has linear trees (linear_tree), which mlrf serves alone, not in a "
                        "pipeline or a combination; train it with linear_tree=false, or build from it alone"
                    )
                return found
    return None
