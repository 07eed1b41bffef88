"""Read a LightGBM model's text into the tree IR: an independent reader for the kernel's tests, deliberately not the product's importer."""

from __future__ import annotations

import numpy as np

from mlrf.core.forest import LEAF, NUMERIC, ZERO_BAND, Forest

JUST_BELOW_BAND = float(np.nextafter(-ZERO_BAND, -np.inf))


def read_model_text(text: str) -> Forest:
    """Return the forest of `Booster.model_to_string()`; constant and linear extras are not handled."""
    head, *blocks = text.split("\nTree=")
    fields = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    per_iteration = int(fields["num_tree_per_iteration"])
    average = any(line.strip() == "average_output" for line in head.splitlines())
    columns: dict[str, list[float]] = {
        name: []
        for name in (
            "feature",
            "threshold",
            "left",
            "right",
            "missing",
            "default_left",
            "category_set",
            "value",
            "cover",
        )
    }
    offsets = [0]
    set_offsets, set_codes = [0], []
    for block in blocks:
        tree = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)

        def read(name: str, kind: type = float, source: dict[str, str] = tree) -> list:
            return [kind(item) for item in source.get(name, "").split()]

        start = offsets[-1]
        n_leaves = int(tree["num_leaves"])
        n_inner = n_leaves - 1
        covers = read("leaf_count") or [0.0] * n_leaves
        values = read("leaf_value")
        if n_inner == 0:
            add(columns, LEAF, value=values[0], cover=covers[0] if covers else 0.0)
            offsets.append(start + 1)
            continue
        left, right = read("left_child", int), read("right_child", int)
        thresholds, features, decisions = read("threshold"), read("split_feature", int), read("decision_type", int)
        boundaries, words = read("cat_boundaries", int), read("cat_threshold", int)
        # Children after parents: number the nodes in preorder.
        order: list[int] = []
        stack = [0]
        while stack:
            node = stack.pop()
            order.append(node)
            if node >= 0:
                stack += [right[node], left[node]]
        number = {node: start + offset for offset, node in enumerate(order)}
        cover = {}
        for node in reversed(order):
            cover[node] = covers[~node] if node < 0 else cover[left[node]] + cover[right[node]]
        for node in order:
            if node < 0:
                add(columns, LEAF, value=values[~node], cover=cover[node])
                continue
            decision = decisions[node]
            category_set = NUMERIC
            threshold = thresholds[node]
            if decision & 1:
                index = int(threshold)
                codes = [
                    32 * word + bit
                    for word, bits in enumerate(words[boundaries[index] : boundaries[index + 1]])
                    for bit in range(32)
                    if bits >> bit & 1
                ]
                category_set = len(set_offsets) - 1
                set_codes += codes
                set_offsets.append(len(set_codes))
                threshold = 0.0
            elif -ZERO_BAND <= threshold < 0:
                threshold = JUST_BELOW_BAND
            elif 0 <= threshold < ZERO_BAND:
                threshold = ZERO_BAND
            add(
                columns,
                features[node],
                threshold=threshold,
                left=number[left[node]],
                right=number[right[node]],
                missing=decision >> 2 & 3,
                default_left=bool(decision & 2) and not decision & 1,
                category_set=category_set,
                cover=cover[node],
            )
        offsets.append(start + len(order))
    n_trees = len(blocks)
    return Forest(
        n_features=int(fields["max_feature_idx"]) + 1,
        n_outputs=per_iteration,
        tree_offsets=np.array(offsets, dtype=np.int64),
        tree_output=(np.arange(n_trees) % per_iteration).astype(np.int32),
        feature=np.array(columns["feature"], dtype=np.int32),
        threshold=np.array(columns["threshold"], dtype=np.float64),
        left=np.array(columns["left"], dtype=np.int32),
        right=np.array(columns["right"], dtype=np.int32),
        missing=np.array(columns["missing"], dtype=np.uint8),
        default_left=np.array(columns["default_left"], dtype=np.bool_),
        category_set=np.array(columns["category_set"], dtype=np.int32),
        value=np.array(columns["value"], dtype=np.float64),
        cover=np.array(columns["cover"], dtype=np.float64),
        set_offsets=np.array(set_offsets, dtype=np.int64),
        set_codes=np.array(set_codes, dtype=np.int32),
        base=np.zeros(per_iteration),
        divisor=float(n_trees // per_iteration) if average else 1.0,
    )


def add(columns: dict[str, list[float]], feature: int, **given: float) -> None:
    """Append one node; defaults are those of a leaf."""
    leaf = {
        "threshold": 0.0,
        "left": LEAF,
        "right": LEAF,
        "missing": 0,
        "default_left": False,
        "category_set": NUMERIC,
        "value": 0.0,
    }
    columns["feature"].append(feature)
    for name, value in (leaf | given).items():
        columns[name].append(value)
