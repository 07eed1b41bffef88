"""Reader of ONNX files that are not tree ensembles: inputs, outputs and the `ImportedGraph`."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from mlrf.builder.importers.imported_model import ImportedGraph, ImportOptions
from mlrf.builder.importers.onnx_graph.inputs import read_features, read_inputs
from mlrf.builder.importers.onnx_graph.known_columns import known_columns
from mlrf.builder.importers.onnx_graph.operators import check_operators
from mlrf.builder.importers.onnx_graph.outputs import read_output
from mlrf.builder.importers.onnx_graph.tree_operators import check_trees
from mlrf.builder.importers.onnx_trees.onnx_file import TREE_OPERATORS, check

_KNOWS_MISSING = frozenset(("Imputer", "IsNaN", *TREE_OPERATORS))
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


def read_graph_model(model: onnx.ModelProto, raw: bytes, import_options: ImportOptions, reason: str) -> ImportedGraph:
    """Read a model in one file; `reason` is why the tree engine cannot serve it.

    UnsupportedModelError or SampleError says what is not supported or does not match.
    """
    operators = check_operators(model)
    check(model)
    check_trees(model)
    inputs = read_inputs(model.graph, import_options.feature_names)
    output = read_output(model.graph)
    known = known_columns(model.graph, [(each.name, each.width) for each in inputs])
    features = read_features(inputs, known, import_options.categories, import_options.feature_names)
    # The caller may give labels that the file does not list.
    named = output.classes or import_options.classes
    elements = [each.element for each in inputs for _ in range(each.width)]
    knows_missing = not _KNOWS_MISSING.isdisjoint(operators)
    may_lack = tuple(
        (knows_missing and feature.categories is None)
        if element in _FLOATS
        else element == TensorProto.STRING and (not column.is_closed or "" in (feature.categories or ()))
        for element, column, feature in zip(elements, known, features, strict=True)
    )
    return ImportedGraph(
        source=raw,
        features=features,
        may_lack=may_lack,
        centres=tuple(column.centre for column in known),
        spreads=tuple(column.spread for column in known),
        operators=operators,
        settings={
            "inputs": [[each.name, each.element, each.width, each.is_flat] for each in inputs],
            "output": output.name,
            "label": output.label,
            "keys": output.keys,
            "classes": None if named is None else list(named),
            "categories": {
                str(i): list(feature.categories) for i, feature in enumerate(features) if feature.categories is not None
            },
        },
        task=import_options.task,
        classes=import_options.classes,
        ends_in=output.operator,
        is_double=output.is_double,
        notes=_notes(model, reason),
    )


def _notes(model: onnx.ModelProto, reason: str) -> tuple[str, ...]:
    producer = f"{model.producer_name} {model.producer_version}".strip() or "an unnamed producer"
    return (
        f"the file was made by {producer}",
        f"it runs on ONNX Runtime as it is, without explanations, not on the tree engine: {reason.partition('; ')[0]}",
    )
