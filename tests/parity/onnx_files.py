"""ONNX files of trees as other exporters write them, drawn at random and built operator by operator."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
ORDER = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")
BY_VALUE = ("BRANCH_EQ", "BRANCH_NEQ")
NUMBERS = {
    "BRANCH_LEQ": 0,
    "BRANCH_LT": 1,
    "BRANCH_GTE": 2,
    "BRANCH_GT": 3,
    "BRANCH_EQ": 4,
    "BRANCH_NEQ": 5,
    "BRANCH_MEMBER": 6,
}


def leaf(*adds):
    return {"adds": adds}


def split(mode, feature, value, yes, no, tracks=0):
    return {"mode": mode, "feature": feature, "value": value, "yes": yes, "no": no, "tracks": tracks}


def grow(rng, depth, outputs, *, modes=ORDER, n_features=4, categorical=(), tracks=True):
    """A random tree; `outputs` are what its leaves add to, `categorical` the columns tested by value."""
    if depth == 0 or rng.random() < 0.15:
        return leaf(*((k, float(np.float32(rng.normal() * 10.0 ** rng.integers(-3, 3)))) for k in outputs))

    def below():
        return grow(rng, depth - 1, outputs, modes=modes, n_features=n_features, categorical=categorical, tracks=tracks)

    feature = int(rng.integers(n_features))
    track = int(tracks and rng.random() < 0.4)
    if feature in categorical:
        mode = str(rng.choice([m for m in modes if m in (*BY_VALUE, "BRANCH_MEMBER")]))
        value = [float(c) for c in rng.choice(9, rng.integers(1, 4), replace=False)]
        return split(mode, feature, value if mode == "BRANCH_MEMBER" else value[0], below(), below(), track)
    mode = str(rng.choice([m for m in modes if m in ORDER]))
    return split(mode, feature, float(np.float32(rng.normal())), below(), below(), track)


def _flatten(tree):
    """Nodes in pre-order, children by number."""
    nodes = []

    def add(node):
        number = len(nodes)
        nodes.append(dict(node))
        if "adds" not in node:
            nodes[number]["yes"], nodes[number]["no"] = add(node["yes"]), add(node["no"])
        return number

    add(tree)
    return nodes


def version_3(trees, *, labels=None, n_targets=1, hits=None, **options):
    """A TreeEnsembleRegressor, or a TreeEnsembleClassifier where labels are given."""
    kind, ids = ("class", "class_ids") if labels else ("target", "target_ids")
    names = (
        "treeids",
        "nodeids",
        "featureids",
        "values",
        "modes",
        "truenodeids",
        "falsenodeids",
        "missing_value_tracks_true",
    )
    a = {f"nodes_{name}": [] for name in names} | {f"{kind}_{name}": [] for name in ("treeids", "nodeids", "weights")}
    a[ids] = []
    for t, tree in enumerate(trees):
        for i, node in enumerate(_flatten(tree)):
            row = (t, i, 0, 0.0, "LEAF", 0, 0, 0)
            if "adds" not in node:
                row = (t, i, *(node[name] for name in ("feature", "value", "mode", "yes", "no", "tracks")))
            for name, value in zip(names, row, strict=True):
                a[f"nodes_{name}"].append(value)
            for output, weight in node.get("adds", ()):
                for name, value in (("treeids", t), ("nodeids", i), ("weights", weight)):
                    a[f"{kind}_{name}"].append(value)
                a[ids].append(output)
    if hits is not None:
        a["nodes_hitrates"] = hits
    if not labels:
        a["n_targets"] = n_targets
    else:
        a["classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"] = labels
    outputs = ["label", "scores"] if labels else ["scores"]
    operator = "TreeEnsembleClassifier" if labels else "TreeEnsembleRegressor"
    return helper.make_node(operator, ["x"], outputs, domain=ML, **a, **options)


def version_5(trees, *, double=True, n_targets=1, transform=0, aggregate=1):
    """A TreeEnsemble; leaves of one output."""
    number = np.float64 if double else np.float32
    inner, leaves, roots, sets = [], [], [], []
    for tree in trees:
        nodes = _flatten(tree)
        assert "adds" not in nodes[0]
        index = {}
        for i, node in enumerate(nodes):
            index[i] = len(leaves) if "adds" in node else len(inner)
            (leaves if "adds" in node else inner).append(node)
        roots.append(index[0])
        for node in nodes:
            if "adds" not in node:
                for side in ("yes", "no"):
                    node[f"{side}_leaf"] = int("adds" in nodes[node[side]])
                    node[side] = index[node[side]]
    for node in inner:
        if node["mode"] == "BRANCH_MEMBER":
            sets += [*node["value"], np.nan]
    splits = [0.0 if n["mode"] == "BRANCH_MEMBER" else n["value"] for n in inner]
    more = {} if not sets else {"membership_values": numpy_helper.from_array(np.array(sets, number), "m")}
    return helper.make_node(
        "TreeEnsemble",
        ["x"],
        ["scores"],
        domain=ML,
        aggregate_function=aggregate,
        post_transform=transform,
        n_targets=n_targets,
        tree_roots=roots,
        nodes_featureids=[n["feature"] for n in inner],
        nodes_modes=numpy_helper.from_array(np.array([NUMBERS[n["mode"]] for n in inner], np.uint8), "modes"),
        nodes_splits=numpy_helper.from_array(np.array(splits, number), "splits"),
        nodes_truenodeids=[n["yes"] for n in inner],
        nodes_trueleafs=[n["yes_leaf"] for n in inner],
        nodes_falsenodeids=[n["no"] for n in inner],
        nodes_falseleafs=[n["no_leaf"] for n in inner],
        nodes_missing_value_tracks_true=[n["tracks"] for n in inner],
        leaf_targetids=[n["adds"][0][0] for n in leaves],
        leaf_weights=numpy_helper.from_array(np.array([n["adds"][0][1] for n in leaves], number), "weights"),
        **more,
    )


def model(*nodes, inputs=(("x", TensorProto.FLOAT, 4),), outputs=None, constants=(), ml=3):
    """A whole file of operators; without `outputs` it gives the last operator's, and a classifier's labels."""
    if outputs is None:
        last = nodes[-1].output
        element = TensorProto.DOUBLE if inputs[0][1] == TensorProto.DOUBLE and ml == 5 else TensorProto.FLOAT
        outputs = [helper.make_tensor_value_info(last[-1], element, [None, None])]
    given = [helper.make_tensor_value_info(name, element, [None, width]) for name, element, width in inputs]
    graph = helper.make_graph(list(nodes), "trees", given, list(outputs), initializer=list(constants))
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ML, ml)],
        ir_version=9,
        producer_name="stranger",
        producer_version="3",
    )
