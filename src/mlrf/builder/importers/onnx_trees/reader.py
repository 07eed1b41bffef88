"""Reader of ONNX files of one tree ensemble, to an `ImportedModel`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import ModelProto, TensorProto

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.class_labels import choose_labels
from mlrf.builder.importers.imported_model import CategoryLists, ImportedModel, ImportOptions
from mlrf.builder.importers.join_trees import TreeArrays, join_trees
from mlrf.builder.importers.onnx_graph.inputs import column_names
from mlrf.builder.importers.onnx_trees.graph import Graph, Input, read_graph
from mlrf.builder.importers.onnx_trees.objective import Kind, read_kind
from mlrf.builder.importers.onnx_trees.onnx_file import check
from mlrf.builder.importers.onnx_trees.tree_nodes import Ensemble, read_ensemble
from mlrf.builder.importers.onnx_trees.trees import TreeReader, has_real_hits
from mlrf.core.errors import ModelUnreadableError, SampleError, UnsupportedModelError
from mlrf.core.feature import Feature
from mlrf.core.feature import Kind as Values
from mlrf.core.forest import F64, Forest, Precision

_MAX_FEATURES = 1 << 20


def read_trees(document: ModelProto, raw: bytes, import_options: ImportOptions) -> ImportedModel:
    """Read a file of one tree ensemble, whose bytes are `raw`; UnsupportedModelError says what it has besides.

    The requested category lists name the codes of columns that trees test for equality.
    """
    graph = read_graph(document)
    check(document)
    if import_options.task is not None:
        raise SampleError("a task is given, but a tree ensemble defines its own; leave it out")
    ensemble = read_ensemble(graph.node)
    way = graph.input_path
    kind = read_kind(ensemble, way.link, way.labels)
    inputs, n_features = _columns(graph, ensemble, import_options.feature_names)
    precision: Precision = "float32" if graph.is_float else "float64"
    if precision == "float64" and ensemble.operator != "TreeEnsemble":
        raise UnsupportedModelError(
            f"the ONNX model feeds double numbers to {ensemble.operator}, which computes in float; mlrf supports it with "
            "inputs of float, or as a TreeEnsemble of double"
        )
    if ensemble.is_double != (precision == "float64"):
        raise UnsupportedModelError("the ONNX model's thresholds and inputs differ in precision (float and double)")
    if way.added and any(ensemble.base):
        raise UnsupportedModelError(
            "the ONNX model has base_values and an Add after its sum; mlrf supports one of them"
        )
    if ensemble.aggregate == "AVERAGE" and way.divisor != 1.0:
        raise UnsupportedModelError("the ONNX model divides an average again; mlrf supports one division")
    if any(ensemble.base) and (way.divisor != 1.0 or way.scale != 1.0):
        raise UnsupportedModelError("the ONNX model scales a sum that has base_values; mlrf supports one of them")
    with_hits = has_real_hits(ensemble.nodes)
    reader = TreeReader(ensemble.nodes, n_features, precision, with_hits=with_hits)
    trees = [_of_output(tree, kind) for tree in reader.read()]
    forest = join_trees(
        trees,
        n_features=n_features,
        base=_base(ensemble, kind, way.added),
        category_sets=reader.category_sets,
        inputs=precision,
        rounding=precision,
        divisor=float(len(trees)) if ensemble.aggregate == "AVERAGE" else way.divisor,
        scale=way.scale,
        base_order="last",
    )
    return ImportedModel(
        forest=forest,
        task=kind.task,
        objective=f"{ensemble.operator} {ensemble.transform}",
        link=kind.link,
        classes=choose_labels(
            import_options.classes, kind.classes, None if kind.classes is None else len(kind.classes), "the ONNX model"
        ),
        features=_features(inputs, reader.categorical, import_options),
        library="onnxruntime",
        source=raw,
        class_at_half=0,
        answers="mlrf.builder.importers.onnx_trees.reference",
        settings=_settings(graph, inputs, kind, forest, sorted(reader.categorical)),
        covers="training" if with_hits else "none",
        notes=_notes(document.producer_name, document.producer_version, kind),
    )


def _columns(graph: Graph, ensemble: Ensemble, names: Sequence[str] | None) -> tuple[tuple[Input, ...], int]:
    inputs = graph.inputs
    if len(inputs) == 1 and inputs[0].width is None and names is not None:
        inputs = (replace(inputs[0], width=len(names)),)
    if len(inputs) == 1 and inputs[0].width is None:
        seen = [f for f, mode in zip(ensemble.nodes.feature, ensemble.nodes.mode, strict=True) if mode != "LEAF"]
        inputs = (replace(inputs[0], width=max(seen, default=0) + 1),)
    n_features = sum(i.width or 0 for i in inputs)
    if not 1 <= n_features <= _MAX_FEATURES:
        raise UnsupportedModelError(f"the ONNX model has {n_features} columns; mlrf serves 1 to {_MAX_FEATURES}")
    return inputs, n_features


def _of_output(tree: TreeArrays, kind: Kind) -> TreeArrays:
    """Return a tree that adds only to the output that counts, if the others follow from it."""
    if kind.output is None:
        return tree
    column = [index for index, output in enumerate(tree.outputs) if output == kind.output]
    values = tree.values[:, column] if column else np.zeros((len(tree.feature), 1))
    return replace(tree, values=values, outputs=(0,))


def _base(ensemble: Ensemble, kind: Kind, added: float) -> F64:
    if not ensemble.base:
        return np.full(kind.n_outputs, added)
    if kind.output is not None:
        return np.array([ensemble.base[kind.output if len(ensemble.base) > 1 else 0]])
    if len(ensemble.base) != kind.n_outputs:
        raise ModelUnreadableError(
            f"the ONNX file is damaged: it has {len(ensemble.base)} base_values for {kind.n_outputs} outputs"
        )
    return np.array(ensemble.base, np.float64)


def _features(
    inputs: Sequence[Input], categorical: dict[int, int], import_options: ImportOptions
) -> tuple[Feature, ...]:
    lists: CategoryLists = import_options.categories
    kinds = []
    for given in inputs:
        kind = Values.BOOLEAN if given.element == TensorProto.BOOL else Values.INTEGER
        if given.element in (TensorProto.FLOAT, TensorProto.DOUBLE):
            kind = Values.NUMERIC
        kinds += [kind] * (given.width or 0)
    called = column_names([(given.name, given.width or 0) for given in inputs], import_options.feature_names)
    names = list(zip(called, kinds, strict=True))
    check_category_names(lists, called)
    features = []
    for column, (name, kind) in enumerate(names):
        if column not in categorical:
            if name in lists:
                raise SampleError(
                    f"feature {name!r}: the model uses it as a number, so it has no categories; leave its list out",
                    feature=name,
                )
            features.append(Feature(name, kind, nullable=kind is Values.NUMERIC))
            continue
        listed = lists.get(name)
        if listed is not None and categorical[column] >= len(listed):
            raise SampleError(
                f"feature {name!r}: the model tests category code {categorical[column]}, but only {len(listed)} categories are "
                "listed",
                feature=name,
            )
        try:
            features.append(
                Feature(
                    name,
                    Values.CATEGORICAL,
                    None if listed is None else tuple(listed),
                    nullable=kind is Values.NUMERIC,
                    example=0 if listed is None else listed[0],
                )
            )
        except ValueError as error:
            raise SampleError(str(error), feature=name) from error
    return tuple(features)


def _settings(
    graph: Graph, inputs: Sequence[Input], kind: Kind, forest: Forest, categorical: list[int]
) -> dict[str, object]:
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE)
    return {
        "inputs": [[i.name, i.width] for i in inputs],
        "declared": {
            i.name: int(TensorProto.DOUBLE if i.is_cast else TensorProto.FLOAT)
            for i in inputs
            if i.element not in floats
        },
        "categorical": categorical,
        "index": graph.index,
        "margin": graph.input_path.margin,
        "answer": graph.input_path.answer,
        "link": kind.link.kind,
        "n_outputs": kind.n_outputs,
        "is_double": forest.rounding == "float64",
    }


def _notes(producer: str, version: str, kind: Kind) -> tuple[str, ...]:
    notes = [f"the file was made by {f'{producer} {version}'.strip() or 'an unnamed producer'}"]
    if kind.task == "raw":
        notes.append("the file gives scores, not probabilities: the prediction is the score of its second class")
    return tuple(notes)
