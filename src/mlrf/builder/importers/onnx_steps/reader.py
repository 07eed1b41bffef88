"""Reader of ONNX pipelines: from a file of steps and a tree ensemble to an `ImportedModel` over its raw columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.imported_model import CategoryLists, ImportedModel, ImportOptions
from mlrf.builder.importers.onnx_graph.inputs import column_names, read_inputs
from mlrf.builder.importers.onnx_steps.graph_cut import CutGraph, cut_graph, file_of_trees
from mlrf.builder.importers.onnx_steps.graph_step import RawUses, is_nan
from mlrf.builder.importers.onnx_steps.graph_steps import GraphSteps
from mlrf.builder.importers.onnx_steps.input_table import InputTable, input_table
from mlrf.builder.importers.onnx_steps.traced_graph import TracedGraph, trace_graph
from mlrf.builder.importers.onnx_trees.onnx_file import check
from mlrf.builder.importers.onnx_trees.reader import read_trees
from mlrf.builder.importers.pipeline.cut_points import CutPoints, Limit
from mlrf.builder.importers.pipeline.fold import fold_forest
from mlrf.builder.importers.pipeline.lineage import Column, Lineage, Use
from mlrf.builder.importers.pipeline.matrix import Preprocessing
from mlrf.builder.importers.pipeline.raw_splits import RawSplits
from mlrf.builder.importers.pipeline.raw_table import RawColumn
from mlrf.builder.importers.pipeline.splits import FoundSplits
from mlrf.core.errors import SampleError, UnsupportedModelError
from mlrf.core.feature import Category, Feature, Kind

_LIBRARY = "onnxruntime"
_NOTE = "the steps before its trees are folded into them, over the raw columns"


def read_onnx_pipeline(document: onnx.ModelProto, raw: bytes, import_options: ImportOptions) -> ImportedModel:
    """Read a file whose bytes are `raw`; UnsupportedModelError names the step that cannot be folded."""
    if import_options.task is not None:
        raise UnsupportedModelError("a task is given, with which its outputs are served as they are")
    cut = cut_graph(document)
    check(document)
    inputs = read_inputs(document.graph, import_options.feature_names)
    names = column_names([(each.name, each.width) for each in inputs], import_options.feature_names)
    check_category_names(import_options.categories, names)
    try:
        traced = trace_graph(document.graph, cut, inputs)
        model = _read_rest(document, raw, cut, traced, import_options)
        columns = _raw_columns(names, traced, import_options.categories)
        table = input_table(inputs, columns, model.forest.no_code_up_to)
        return _fold(model, traced, table, cut)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        # An attribute of an operator may have any type and length; ONNX Runtime judges whether the file is valid.
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(
            f"the ONNX model's steps cannot transform rows: {type(error).__name__}: {reason}"
        ) from error


def _read_rest(
    document: onnx.ModelProto, raw: bytes, cut: CutGraph, traced: TracedGraph, import_options: ImportOptions
) -> ImportedModel:
    """Return the trees as a model over their matrix."""
    element = helper.np_dtype_to_tensor_dtype(traced.matrix.dtype)
    if element != TensorProto.FLOAT:
        raise UnsupportedModelError(
            f"the ONNX model's steps give its trees numbers of {traced.matrix.dtype}; mlrf folds steps that give float32"
        )
    rest = file_of_trees(document, cut, element, len(traced.matrix.columns))
    return read_trees(rest, raw, replace(import_options, categories={}, feature_names=None))


def _raw_columns(names: Sequence[str], traced: TracedGraph, lists: CategoryLists) -> list[RawColumn]:
    """Return the raw columns; those that only encoders read have categories."""
    uses, used = traced.uses, {column.raw for column in traced.matrix.columns}
    found = []
    for raw, name in enumerate(names):
        is_category = uses.is_text[raw] or (raw in uses.keys and raw not in uses.numbers)
        if raw in used and not is_category and raw in uses.closed:
            raise UnsupportedModelError(
                f"the ONNX model's {uses.closed[raw]} refuses some of the numbers of {name!r}, which another step reads"
            )
        if name in lists and not (raw in used and is_category):
            raise UnsupportedModelError(f"a list of categories is given for {name!r}, which no encoder reads alone")
        categories = _categories(uses, raw, name, lists) if is_category and raw in used else None
        found.append(RawColumn(name, categories, is_used=raw in used))
    return found


def _categories(uses: RawUses, raw: int, name: str, lists: CategoryLists) -> list[Category]:
    listed = [key for key in uses.keys.get(raw, ()) if not is_nan(key)]
    if name in lists:
        listed = list(lists[name])
    if not listed:
        raise UnsupportedModelError(f"the ONNX model does not list the strings of {name!r}")
    if any(isinstance(each, str) != uses.is_text[raw] for each in listed):
        kind = "strings" if uses.is_text[raw] else "numbers"
        raise SampleError(f"feature {name!r}: its categories must be {kind}", feature=name)
    return [int(each) if isinstance(each, float) and each.is_integer() else each for each in listed]


def _fold(model: ImportedModel, traced: TracedGraph, table: InputTable, cut: CutGraph) -> ImportedModel:
    edges = _edges(traced, table)
    lineage = Lineage(
        tuple(
            Column(each.raw, each.is_raw, each.is_monotone, each.is_stepped or each.is_constant)
            for each in traced.matrix.columns
        ),
        tuple(
            Use(bin_edges=[edges.get(raw, [])], is_number=raw in traced.uses.numbers) if column.is_used else None
            for raw, column in enumerate(table.columns)
        ),
    )
    steps = GraphSteps(traced, [cut.matrix])
    preprocessing = Preprocessing(steps, table, len(lineage.columns), library=_LIBRARY)
    found = RawSplits(model, lineage, table, preprocessing).find()
    features = _typed_features(found, table)
    return replace(
        model,
        forest=fold_forest(model.forest, found.splits, found.split_of, found.features, len(table.used)),
        features=features,
        answers="mlrf.builder.importers.onnx_steps.reference",
        settings={
            **model.settings,
            "declared": {},
            "index": cut.tree_index,
            "table": table.settings(),
            "categorical": [
                index
                for index, feature in enumerate(features)
                if feature.kind is Kind.CATEGORICAL and feature.categories is None
            ],
        },
        known_codes_only=found.known_codes_only,
        edge_values=found.edge_values,
        largest_number=found.largest_number,
        notes=(*model.notes, _NOTE),
    )


def _edges(traced: TracedGraph, table: InputTable) -> dict[int, list[float]]:
    """Return, by raw column of numbers, the least numbers beyond each limit that a step compares it with."""
    feature_of = {raw: feature for feature, raw in enumerate(table.used)}
    crossings = [
        each for each in traced.uses.crossings if each.raw in feature_of and table.columns[each.raw].categories is None
    ]
    if not crossings:
        return {}
    tensors = list(dict.fromkeys(each.tensor for each in crossings))
    steps = GraphSteps(traced, tensors)
    widths = [len(traced.tensors[name].columns) for name in tensors]
    first = dict(zip(tensors, np.cumsum([0, *widths[:-1]]).tolist(), strict=True))
    cut_points = CutPoints(
        Preprocessing(steps, table, sum(widths), library=_LIBRARY),
        np.zeros(len(table.used)),
        [table.columns[raw].name for raw in table.used],
        sorted({feature_of[each.raw] for each in crossings}),
    )
    limits = {
        Limit(feature_of[each.raw], first[each.tensor] + each.column, each.limit, in_float32=False)
        for each in crossings
    }
    found: dict[int, list[float]] = {}
    for limit, cut in cut_points.find(sorted(limits)).items():
        if np.isfinite(cut):
            found.setdefault(table.used[limit.feature], []).append(float(np.nextafter(cut, np.inf)))
    return found


def _typed_features(found: FoundSplits, table: InputTable) -> tuple[Feature, ...]:
    """Return the features with the kinds of the inputs that they come from."""
    elements = [each.element for each in table.inputs for _ in range(each.width)]
    return tuple(
        _typed_feature(feature, elements[raw]) for feature, raw in zip(found.raw_features, table.used, strict=True)
    )


def _typed_feature(feature: Feature, element: int) -> Feature:
    if feature.kind is not Kind.NUMERIC or element in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return feature
    if element == TensorProto.BOOL:
        return msgspec.structs.replace(feature, kind=Kind.BOOLEAN, example=False)
    return msgspec.structs.replace(feature, kind=Kind.INTEGER, example=0)
