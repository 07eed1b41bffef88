"""The operators of a graph, and those that no server should run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx

from mlrf.builder.importers.onnx_trees.onnx_file import ML_DOMAIN
from mlrf.core.errors import UnsupportedModelError

_DOMAINS = ("", "ai.onnx", ML_DOMAIN)
_ENDLESS = ("Loop", "SequenceMap")
_DRAWING = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_MAX_NODES = 100_000


def check_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of each operator; UnsupportedModelError names one that is not supported, and why."""
    counts: Counter[str] = Counter()
    for node in nodes_of(model.graph):
        if node.domain not in _DOMAINS:
            raise UnsupportedModelError(
                f"the ONNX model has the operator {node.op_type} of {node.domain!r}, which is not one of ONNX's own (ai.onnx, "
                f"{ML_DOMAIN}); export it without"
            )
        if node.op_type in _ENDLESS:
            raise UnsupportedModelError(
                f"the ONNX model has a {node.op_type}, which may never end for some row; export it without it (Scan is "
                "supported)"
            )
        if node.op_type in _DRAWING:
            raise UnsupportedModelError(
                f"the ONNX model draws random numbers ({node.op_type}), so its answers are not reproducible; export it "
                "without them"
            )
        counts[node.op_type] += 1
    if counts.total() > _MAX_NODES:
        raise UnsupportedModelError(f"the ONNX model has {counts.total()} operators; mlrf serves up to {_MAX_NODES}")
    return dict(counts.most_common())


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the operators of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes_of(attribute.g)
            for within in attribute.graphs:
                yield from nodes_of(within)
