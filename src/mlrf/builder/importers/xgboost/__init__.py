"""The importer of XGBoost's JSON and UBJSON formats (1.0 and later); XGBoost is not needed to read a model file.

ubjson (bytes → values), document (typed access) → trees (the IR), objective (task, link, base score), features (names, kinds,
categories); `reader` combines them; `reference` runs XGBoost itself, in a child process.
"""

import re

from mlrf.builder.importers.interface import Library
from mlrf.builder.importers.xgboost.document import is_document
from mlrf.builder.importers.xgboost.reader import read_xgboost

_OLD_BINARY = re.compile(
    rb"(?s)(binf|bs64)|.{136,200}?(reg|binary|multi|rank|count|survival):[a-z]+.{8,40}?(gbtree|dart|gblinear)"
)
"""The binary format up to XGBoost 2: a header of numbers, then the names of objective and booster."""

_DUMPED = re.compile(rb'(booster\[\d+\]:|\[\s*\{\s*"nodeid")')
"""Prefix of `Booster.dump_model`'s output, recognised so that the error can name it."""

LIBRARY = Library(
    name="XGBoost",
    reads="XGBoost models (.json, .ubj: Booster.save_model), Boosters and its scikit-learn wrappers",
    numbered="f{}",
    packages=("xgboost",),
    recognises=lambda content: (
        is_document(content) or _OLD_BINARY.match(content[:512]) is not None or _DUMPED.match(content[:64]) is not None
    ),
    read=read_xgboost,
)
