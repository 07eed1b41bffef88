"""LightGBM model texts of a stated width and size, written without training, like a text classifier of many words."""

from __future__ import annotations

import numpy as np

_LEAVES = 64


def wide_model_text(n_features: int, n_trees: int, *, seed: int = 0) -> str:
    """Return the text of a binary model of `n_trees` trees of 64 leaves whose nodes test random ones of its features."""
    rng = np.random.default_rng(seed)
    blocks = [_tree(number, n_features, rng) + "\n\n" for number in range(n_trees)]
    names = [f"word_{number}" for number in range(n_features)]
    head = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={n_features - 1}",
        "objective=binary sigmoid:1",
        f"feature_names={' '.join(names)}",
        f"feature_infos={' '.join(['[0:9]'] * n_features)}",
        f"tree_sizes={' '.join(str(len(block)) for block in blocks)}",
        "",
    ]
    return "\n".join(head) + "\n" + "".join(blocks) + "end of trees\n\nparameters:\nend of parameters\n"


def _tree(number: int, n_features: int, rng: np.random.Generator) -> str:
    left, right = _random_children(rng)
    inner = _LEAVES - 1
    fields = {
        "num_leaves": _LEAVES,
        "num_cat": 0,
        "split_feature": rng.integers(n_features, size=inner),
        "split_gain": np.ones(inner, int),
        "threshold": rng.exponential(size=inner),
        "decision_type": rng.choice([2, 10], inner),
        "left_child": left,
        "right_child": right,
        "leaf_value": rng.normal(size=_LEAVES) / 10,
        "leaf_weight": np.ones(_LEAVES, int),
        "leaf_count": rng.integers(1, 50, size=_LEAVES),
        "internal_value": np.zeros(inner, int),
        "internal_weight": np.ones(inner, int),
        "internal_count": np.full(inner, 50),
        "is_linear": 0,
        "shrinkage": 1,
    }
    lines = [f"{key}={' '.join(map(_text, np.atleast_1d(value).tolist()))}" for key, value in fields.items()]
    return "\n".join([f"Tree={number}", *lines])


def _random_children(rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return the children of each node of a tree grown by splitting a random leaf each time, as LightGBM numbers them."""
    left, right = [-1], [-2]
    slots = [(left, 0), (right, 0)]  # by leaf, where its parent names it
    for node in range(1, _LEAVES - 1):
        leaf = int(rng.integers(len(slots)))
        side, parent = slots[leaf]
        side[parent] = node
        left.append(~leaf)
        right.append(~len(slots))
        slots[leaf] = (left, node)
        slots.append((right, node))
    return left, right


def _text(value: float) -> str:
    return repr(value)
