"""Trees with vector leaves (`multi_strategy=multi_output_tree`): a leaf adds one value to every output.

Such a tree becomes K trees of one value a leaf, one for each output. XGBoost adds the vectors tree by tree, so each output is
the same float32 sum either way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlrf.builder.importers.xgboost.document import Member
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import LEAF

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
_MAX_NODES = (1 << 31) - 1


def leaf_size(tree: Member, n_outputs: int) -> int:
    """Return the number of values K of each leaf: 1, or one for each output."""
    size = tree.member("tree_param").integer("size_leaf_vector", 1)
    if size > 1 and size != n_outputs:
        raise tree.error("tree_param", f"has leaves of {size} values for {n_outputs} outputs")
    return max(size, 1)


def leaf_vectors(tree: Member, leaves: I64, right: I64, size: int) -> F32:
    """Return the values [len(leaves), size] of the leaves; ModelUnreadableError if the file lacks some.

    Since XGBoost 3.2 they are `leaf_weights`, and a leaf's right child is its index there; before, they are the
    `base_weights` of its node.
    """
    key = "leaf_weights" if "leaf_weights" in tree else "base_weights"
    values = tree.floats(key)
    rows = right[leaves] if key == "leaf_weights" else leaves
    if len(values) % size or np.any((rows < 0) | (rows >= len(values) // size)):
        raise tree.error(key, f"does not have {size} values for each leaf")
    return values.reshape(-1, size)[rows]


def separate(part: dict[str, npt.NDArray[np.generic]], first: int) -> list[dict[str, npt.NDArray[np.generic]]]:
    """Return a tree whose `value` is [m, K] as K trees numbered from `first`."""
    values = np.asarray(part["value"])
    n, size = values.shape
    if first + n * size > _MAX_NODES:
        raise UnsupportedModelError(
            f"the model has more than {_MAX_NODES} nodes, one copy of a tree for each output; train fewer or smaller trees"
        )
    trees = []
    for index in range(size):
        children = {
            side: np.where(np.asarray(part[side]) == LEAF, LEAF, np.asarray(part[side], np.int64) + index * n)
            for side in ("left", "right")
        }
        trees.append({**part, **children, "value": values[:, index]})
    return trees


def in_old_layout(trees: Sequence[Member]) -> bool:
    """Whether a tree has its vectors as XGBoost 3.1 and earlier write them: without `leaf_weights`, and without covers."""
    return any(
        "leaf_weights" not in tree and tree.member("tree_param").integer("size_leaf_vector", 1) > 1 for tree in trees
    )
