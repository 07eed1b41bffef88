"""The importer of CatBoost models (`.cbm`, JSON or objects); catboost itself is not needed for files.

source (bytes of the given object), cbm_file with cbm_tables, and json_file (bytes to `Document`), document (the content of
both), ctr (statistics of categories), tree_shapes, trees, ctr_tables and features (`Document` to the IR and the schema),
objective (task and link of a loss), reader (combines them), reference (CatBoost itself, in a child process).
"""

from mlrf.builder.importers.catboost.reader import read_catboost
from mlrf.builder.importers.catboost.source import is_catboost_file
from mlrf.builder.importers.interface import Library

LIBRARY = Library(
    name="CatBoost",
    reads="CatBoost models (.cbm, JSON, fitted objects)",
    numbered="{}",
    packages=("catboost",),
    recognises=is_catboost_file,
    read=read_catboost,
)
