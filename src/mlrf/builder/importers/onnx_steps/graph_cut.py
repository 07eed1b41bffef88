"""Cuts an ONNX graph before its trees: the operators that compute their columns, and a file of the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx
from onnx import helper

from mlrf.builder.importers.onnx_trees.onnx_file import ML_DOMAIN, TREE_OPERATORS
from mlrf.core.errors import UnsupportedModelError

_PLAIN = frozenset(("Cast", "Concat", "Identity"))
"""Operators before the trees that `onnx_trees` reads itself."""


@dataclass(frozen=True, slots=True, eq=False)
class CutGraph:
    """The two parts of a graph."""

    steps: tuple[onnx.NodeProto, ...]
    """The operators before the trees, in the order of the graph."""
    matrix: str
    """The tensor that the trees read."""
    tree_index: int
    """Index of the tree operator among the nodes of the whole graph."""
    following: tuple[onnx.NodeProto, ...]
    """The trees, and every operator after them that an output needs."""


def has_steps(model: onnx.ModelProto) -> bool:
    """Whether a graph has one tree operator, and operators before it that compute its columns."""
    indices = _tree_indices(model)
    if len(indices) != 1:
        return False
    nodes = model.graph.node
    return any(nodes[index].op_type not in _PLAIN for index in _before(model, indices[0]))


def cut_graph(model: onnx.ModelProto) -> CutGraph:
    """Cut a graph for which `has_steps` is true; UnsupportedModelError if its parts are connected in other ways."""
    (tree_index,) = _tree_indices(model)
    nodes = model.graph.node
    before = _before(model, tree_index)
    matrix = nodes[tree_index].input[0]
    needed = _makers_of(
        model, [value.name for value in model.graph.output]
    )  # skl2onnx writes operators that nothing reads
    following = tuple(nodes[index] for index in sorted(needed - before))
    inner = {name for index in before for name in nodes[index].output} - {matrix}
    inner |= {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    for node in following:
        if used := inner.intersection(node.input):
            raise UnsupportedModelError(
                f"the ONNX model's operator {node.op_type} reads {min(used)!r} past its trees; mlrf folds steps that only the "
                "trees read"
            )
    if shown := [value.name for value in model.graph.output if value.name in {*inner, matrix}]:
        raise UnsupportedModelError(
            f"the ONNX model has the output {shown[0]!r} of a step before its trees; export it with the trees' outputs only"
        )
    return CutGraph(tuple(nodes[index] for index in sorted(before)), matrix, tree_index, following)


def file_of_trees(model: onnx.ModelProto, cut: CutGraph, element: int, width: int) -> onnx.ModelProto:
    """Return the file without its steps, whose only input is the trees' matrix of `width` columns."""
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    del rest.graph.node[:], rest.graph.input[:], rest.graph.value_info[:]
    rest.graph.node.extend(cut.following)
    rest.graph.input.append(helper.make_tensor_value_info(cut.matrix, element, [None, width]))
    return rest


def _tree_indices(model: onnx.ModelProto) -> list[int]:
    return [
        index
        for index, node in enumerate(model.graph.node)
        if node.domain == ML_DOMAIN and node.op_type in TREE_OPERATORS and node.input
    ]


def _before(model: onnx.ModelProto, index: int) -> set[int]:
    """Return the indices of the nodes that a node's columns come from."""
    return _makers_of(model, model.graph.node[index].input[:1]) - {index}


def _makers_of(model: onnx.ModelProto, tensors: Iterable[str]) -> set[int]:
    """Return the indices of the nodes that tensors come from."""
    makers = {name: maker for maker, node in enumerate(model.graph.node) for name in node.output}
    found: set[int] = set()
    waiting = list(tensors)
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is not None and maker not in found:
            found.add(maker)
            waiting += model.graph.node[maker].input
    return found
