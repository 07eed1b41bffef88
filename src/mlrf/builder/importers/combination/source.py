"""Recognises a meta-estimator, as an object or in a skops file, and packs it for the process that answers the golden rows.

That process gets the meta-estimator as a skops file of known types and every member in its library's own format: nothing is
unpickled there.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

from mlrf.builder.importers.combination.recipes import RECIPES
from mlrf.builder.importers.pipeline.source import PREPROCESSING_TYPES
from mlrf.builder.importers.pipeline.stored_encoders import with_pandas_tables, with_plain_tables
from mlrf.builder.importers.sklearn.source import dump_skops, load_skops, skops_class
from mlrf.builder.model_source import ModelFile, Source, unfrozen

_TYPES = (
    "sklearn.calibration.",
    "sklearn.isotonic.",
    "sklearn.linear_model.",
    "sklearn.multiclass.",
    "sklearn.multioutput.",
    "sklearn.frozen.",
    *PREPROCESSING_TYPES,
    "sklearn.utils._bunch.Bunch",
    "numpy.exp",
    "numpy.log",
    "numpy.sqrt",
    "numpy.square",
    "scipy.interpolate.",
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBM",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGB",
    "catboost.core.CatBoost",
)
_SINGLE_TREES = ("DecisionTree", "ExtraTree")
_COMBINATION = "combination.skops"


def is_combination(value: Any) -> bool:
    """Whether an object is one of scikit-learn's meta-estimators that is not a forest already, as bagged single trees are."""
    kind = type(value)
    if kind.__name__ not in RECIPES or not kind.__module__.startswith("sklearn."):
        return False
    members = getattr(value, "estimators_", None)
    is_bagging = kind.__name__.startswith("Bagging")
    return not (is_bagging and members and type(members[0]).__name__.startswith(_SINGLE_TREES))


def is_combination_file(content: bytes) -> bool:
    """Whether a file is a skops archive whose object is such a meta-estimator."""
    module, name = skops_class(content) or ("", "")
    if name not in RECIPES or not module.startswith("sklearn."):
        return False
    # Bagged single trees are of the importer of trees, and only the members show it.
    return not name.startswith("Bagging") or is_combination(load_combination(content))


def open_combination(source: Source) -> Any:
    """Return the meta-estimator of an object or of a skops file; the BuildError says what is wrong with it."""
    return load_combination(source.content) if isinstance(source, ModelFile) else source.value


def load_combination(content: bytes) -> Any:
    """Return the object of a skops file that may hold meta-estimators and tree models of the libraries mlrf reads."""
    return unfrozen(load_skops(content, also=_TYPES))


def pack_source(combination: Any, members: Sequence[bytes]) -> bytes:
    """Return an archive of the meta-estimator (as skops) and of its members in their libraries' own formats."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_COMBINATION, dump_skops(with_plain_tables(combination)))
        for index, member in enumerate(members):
            archive.writestr(f"member-{index}", member)
    return packed.getvalue()


def unpack_source(packed: bytes) -> tuple[Any, list[bytes]]:
    """Return the arguments of `pack_source`."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        n_members = len(archive.namelist()) - 1
        members = [archive.read(f"member-{index}") for index in range(n_members)]
        return with_pandas_tables(load_combination(archive.read(_COMBINATION))), members
