"""The importer of LightGBM's text format (v2 to v4); LightGBM is not needed to read a model file.

text (sections of the file) → tree (one block of fields) → trees (the IR); objective (task and link); features (names, kinds,
categories); `source` finds the text in a path, a Booster or a wrapper; `reader` combines them; `reference` runs LightGBM
itself.
"""

from mlrf.builder.importers.interface import Library
from mlrf.builder.importers.lightgbm.reader import read_lightgbm
from mlrf.builder.importers.lightgbm.skops_file import is_skops

_DUMPED = b'{"name":"tree"'
"""Prefix of `Booster.dump_model`'s output, recognised so that the error can name it."""

LIBRARY = Library(
    name="LightGBM",
    reads="LightGBM text models (Booster.save_model), Boosters and its scikit-learn wrappers",
    numbered="Column_{}",
    packages=("lightgbm",),
    recognises=lambda content: content.startswith((b"tree\n", b"tree\r", _DUMPED)) or is_skops(content),
    read=read_lightgbm,
)
