"""Checks the tree operators of a graph, because ONNX Runtime follows node indices from the file without checking them."""

from __future__ import annotations

import onnx

from mlrf.builder.importers.onnx_graph.operators import nodes_of
from mlrf.builder.importers.onnx_trees.onnx_file import ML_DOMAIN, TREE_OPERATORS
from mlrf.builder.importers.onnx_trees.tree_nodes import LEAF, read_ensemble
from mlrf.core.errors import ModelUnreadableError


def check_trees(model: onnx.ModelProto) -> None:
    """Check that the nodes of each tree operator form trees; ModelUnreadableError names one that does not."""
    for node in nodes_of(model.graph):
        if node.domain != ML_DOMAIN or node.op_type not in TREE_OPERATORS:
            continue
        nodes = read_ensemble(node).nodes
        seen = bytearray(len(nodes.mode))
        waiting = list(nodes.roots)
        while waiting:
            index = waiting.pop()
            if seen[index]:
                raise ModelUnreadableError(
                    f"the trees of {node.op_type} share branches or have cycles: a node has two parents; export it with "
                    "trees of their own"
                )
            seen[index] = 1
            if nodes.mode[index] != LEAF:
                if nodes.feature[index] < 0:
                    raise ModelUnreadableError(
                        f"{node.op_type} tests column {nodes.feature[index]}; export the model again"
                    )
                waiting += (nodes.yes[index], nodes.no[index])
