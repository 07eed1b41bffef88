"""`leaves.bin`: the leaf numbers of a forest, in the order of the forest file."""

from __future__ import annotations

from mlrf.builder.exporters.forest_file.tree_shape import measure_shape
from mlrf.core.forest import Forest
from mlrf.core.leaf_numbers import encode_leaf_numbers


def leaf_file(forest: Forest) -> bytes | None:
    """Return the file; None for a forest whose library numbers no leaves."""
    if forest.leaf_numbers is None or forest.leaf_trees is None:
        return None
    shape = measure_shape(forest)
    return encode_leaf_numbers(
        forest.leaf_trees.astype("<u4").tobytes(), forest.leaf_numbers[shape.leaves].astype("<u4").tobytes()
    )
