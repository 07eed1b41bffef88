"""The reader of scikit-learn's tree models: an estimator or a skops file in, `ImportedModel` out.

source (the estimator in whatever a caller holds), estimator (what kind it is, what its margin means), trees (arrays of
`sklearn.tree`), histogram (the trees and categories of histogram boosting), features (columns), reader (the whole),
answers (scikit-learn itself, asked in a process of its own).
"""

from mlrf.builder.importers.imported_model import Library
from mlrf.builder.importers.sklearn.reader import read_sklearn
from mlrf.builder.importers.sklearn.source import is_archive

LIBRARY = Library(
    name="scikit-learn",
    reads="scikit-learn tree models (skops files, fitted estimators)",
    packages=("sklearn",),
    recognises=is_archive,
    read=read_sklearn,
)
