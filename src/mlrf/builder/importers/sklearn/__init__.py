"""The importer of scikit-learn's tree models: an estimator or a skops file, read to an `ImportedModel`.

source (the estimator of the given object), objective (its kind and the meaning of its margin), trees (arrays of
`sklearn.tree`), histogram (trees and categories of histogram boosting), combinations (bagging and AdaBoost), features
(columns), reader (combines them), reference (scikit-learn itself, in a child process).
"""

from mlrf.builder.importers.interface import Library, Turn
from mlrf.builder.importers.sklearn.reader import read_sklearn
from mlrf.builder.importers.sklearn.source import is_archive

LIBRARY = Library(
    name="scikit-learn",
    reads="scikit-learn tree models (skops files, fitted estimators)",
    numbered="x{}",
    packages=("sklearn",),
    recognises=is_archive,
    read=read_sklearn,
    turn=Turn.AFTER_WRAPPERS,
)
