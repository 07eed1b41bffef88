"""The leaves that rows reach, by the training library's own numbers, from the bundle's `leaves.bin`."""

from __future__ import annotations

from array import array

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, InvalidRequestError
from mlrf.core.leaf_numbers import read_leaf_numbers
from mlrf.core.manifest import LEAVES
from mlrf.engines.interface import Engine, Rows, WalksTrees


class Leaves:
    """Finds the leaf that a row reaches in each tree, as `pred_leaf`, `apply` or `calc_leaf_indexes` of the library does."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        """Read the leaf numbers; InvalidRequestError when the model has none, BundleError when the file is damaged."""
        self._engine = _walker(bundle, engine)
        self._trees, self._numbers = read_leaf_numbers(bundle.file(LEAVES))
        try:
            self._engine.leaves(b"", self._trees, self._numbers)
        except (ValueError, IndexError) as error:
            raise BundleError(
                f"{bundle.path}: {LEAVES} does not match the model's trees: {error}; build the bundle again",
                file=LEAVES,
            ) from error
        self.n_trees = len(self._trees) // 4

    def flat(self, rows: Rows) -> array[float]:
        """Return the numbers of the leaves of n rows, [n, trees] in the library's order of trees; from any thread."""
        return self._engine.leaves(rows, self._trees, self._numbers)

    def by_row(self, rows: Rows) -> list[list[int]]:
        """Return the same as a list for each row."""
        found = list(map(int, self.flat(rows)))
        return [found[start : start + self.n_trees] for start in range(0, len(found), self.n_trees)]


def has_leaves(bundle: Bundle, engine: Engine) -> bool:
    """Return whether the leaves of a model have numbers."""
    manifest = bundle.manifest
    is_one_forest = manifest.graph is None and manifest.combination is None
    return is_one_forest and LEAVES in manifest.files and isinstance(engine, WalksTrees)


def _walker(bundle: Bundle, engine: Engine) -> WalksTrees:
    manifest = bundle.manifest
    if manifest.graph is not None:
        reason = "is a graph of operators, which has no leaves"
    elif manifest.combination is not None:
        reason = "combines several models, and no library numbers the leaves of all of them"
    elif not isinstance(engine, WalksTrees):
        reason = f"is served by the engine {engine.name}, which does not report leaves; use the engine trees"
    elif LEAVES not in manifest.files:
        reason = (
            f"has no leaf numbers: {manifest.library or 'its library'} reports none for such a model, or the bundle was built "
            "before they were kept; then build it again"
        )
    else:
        return engine
    raise InvalidRequestError(f"{bundle.name} {reason}", field="leaves")
