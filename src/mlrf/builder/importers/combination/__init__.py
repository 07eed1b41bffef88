"""The importer of scikit-learn's meta-estimators over tree models: calibrated, voting, stacked and bagged models.

The trees of all members become one forest with all their outputs, so that one pass of the kernel computes them; the manifest
has the operations that combine them (`core.combination`). Contract:

1. The gate compares the margins of every member with that member's own library, to the bit, and the whole with scikit-learn.
2. A combination that is a weighted sum of margins is explained exactly; any other is not explained, and says so.

recipes (what each meta-estimator does with its members), calibration (calibrated classifiers), members (each as a tree model),
final_model (the trees that a stack ends in), merge (several forests as one), member_features (features that all members
read, and rows as tables), source (the object or skops file), reader (combines them), reference (the members'
libraries and scikit-learn, in a child process).
"""

from mlrf.builder.importers.combination.reader import read_combination
from mlrf.builder.importers.combination.source import is_combination, is_combination_file
from mlrf.builder.importers.interface import Library

LIBRARY = Library(
    name="scikit-learn",
    reads="scikit-learn's calibrated, voting, stacked and bagged tree models",
    numbered="x{}",
    packages=(),
    recognises=is_combination_file,
    recognises_object=is_combination,
    read=read_combination,
)
