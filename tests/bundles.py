"""Bundles built quickly, without a training library: one stump per feature and output, whose sums are exact in float64."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from onnx import TensorProto, helper

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.core.bundle_files import digest_file
from mlrf.core.errors import BundleError, EngineError
from mlrf.core.feature import Category, Feature, Kind
from mlrf.core.forest import LEAF, NUMERIC, Forest, Missing
from mlrf.core.game_rows import encode_game_rows
from mlrf.core.golden_bin import encode_golden_rows
from mlrf.core.json_schema import to_json_schema
from mlrf.core.link import Link
from mlrf.core.manifest import FORMAT, FileEntry, KeyFieldEntry, LinkEntry, Manifest, ModelFacts, RowsEntry, Task
from mlrf.core.schema import Schema
from mlrf.engines.onnxruntime import OnnxRuntimeEngine
from mlrf.engines.tree_kernel import TreeEngine
from mlrf.model import Model
from mlrf.model.row_predictor import RowPredictor
from naive_forest import make_forest

ALL_KINDS = Schema(
    (
        Feature("price", Kind.NUMERIC, example=9.5),
        Feature("count", Kind.INTEGER, example=3),
        Feature("promo", Kind.BOOLEAN, example=True),
        Feature("store", Kind.CATEGORICAL, ("north", "süd", "east"), example="süd"),
        Feature("size", Kind.CATEGORICAL, (10, 20, 30), example=20),
        Feature("code", Kind.CATEGORICAL, None, example=7),
        Feature("depth", Kind.NUMERIC, nullable=False, example=0.25),
    )
)
"""A feature of every kind; `depth` may not be missing."""

NUMBERS = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(3)))

_THRESHOLD = 0.5
_GOLDEN_ROWS = 40
_EXTREME = 1e6
_EXTREME_MARGIN = 1000.0
"""What is added to the margin where the first feature is above `_EXTREME`: too much for `exp`."""


def margins_of(row: Sequence[float], n_outputs: int = 1) -> list[float]:
    """The prediction of the model of `write_bundle` for a row, in plain Python."""
    margins = []
    for output in range(n_outputs):
        margin = _EXTREME_MARGIN if row[0] > _EXTREME else 0.0
        for feature, x in enumerate(row):
            low, high = _leaves(feature, output)
            margin += low if math.isnan(x) or x <= _THRESHOLD else high
        margins.append(margin)
    return margins


def write_bundle(
    path: Path,
    *,
    name: str = "sample",
    schema: Schema = ALL_KINDS,
    task: Task = "regression",
    link: LinkEntry | None = None,
    classes: list[Category] | None = None,
    predict_returns: Literal["value", "label"] = "value",
    n_outputs: int = 1,
    model: bytes | None = None,
    forest: Forest | None = None,
    key: dict[str, str] | None = None,
    background: Sequence[Sequence[float]] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write a bundle with valid digests, and return its path; `model` or `forest` replaces the stumps.

    With a `key` (type by field) it is served by key too, without rows of its own.

    `background` are rows against which it is explained, `groups` the features that are explained as one.

    Only a bundle of a `forest` also has a file for the tree engine.
    """
    path.mkdir(parents=True)
    link = link or LinkEntry("identity")
    if forest is not None:
        model = export_onnx(forest, Link(link.kind, link.scale)) if model is None else model
        (path / "forest.bin").write_bytes(encode_forest(forest))
    onnx = stumps(len(schema.features), n_outputs) if model is None else model
    (path / "model.onnx").write_bytes(onnx)
    (path / "golden.bin").write_bytes(_golden_rows(path, schema, n_outputs))
    if background is not None:
        rows = np.asarray(background, dtype=np.float64).tobytes()
        (path / "background.bin").write_bytes(encode_game_rows(rows, len(schema.features)))
    if groups is not None:
        (path / "groups.json").write_text(json.dumps(groups), encoding="utf-8")
    (path / "schema.json").write_text(json.dumps(to_json_schema(schema)), encoding="utf-8")
    trees = len(schema.features) + 1
    manifest = Manifest(
        format=FORMAT,
        name=name,
        task=task,
        objective=task,
        link=link,
        classes=classes,
        predict_returns=predict_returns,
        n_features=len(schema.features),
        n_outputs=n_outputs,
        base=[0.0] * n_outputs if forest is None else forest.expected_margin(),
        facts=ModelFacts(trees, 2 * trees, 1, sum(f.kind is Kind.CATEGORICAL for f in schema.features)),
        libraries={},
        parity={},
        rows=None if key is None else RowsEntry([KeyFieldEntry(field, kind) for field, kind in key.items()]),
        files={file.name: entry_of(file) for file in sorted(path.iterdir())},
    )
    write_manifest(path, msgspec.to_builtins(manifest))
    return path


def _golden_rows(path: Path, schema: Schema, n_outputs: int) -> bytes:
    """The golden answers of a forest or a model from its engine; zeros for a model that no engine opens."""
    rows = np.random.default_rng(3).uniform(-1.0, 2.0, (_GOLDEN_ROWS, len(schema.features)))
    rows[::7] = math.nan
    if (path / "forest.bin").exists():
        margins = np.frombuffer(TreeEngine(path / "forest.bin").margins(rows.data), dtype=np.float64)
    else:
        try:
            margins = np.frombuffer(OnnxRuntimeEngine(path / "model.onnx").margins(rows), dtype=np.float64)
        except (BundleError, EngineError):
            margins = np.zeros(n_outputs * len(rows))
    return encode_golden_rows(rows.tobytes(), margins.tobytes(), len(rows))


def write_tree_bundle(
    path: Path,
    *,
    schema: Schema = ALL_KINDS,
    n_outputs: int = 1,
    n_trees: int = 30,
    max_leaves: int = 12,
    leaf_scale: float = 1.0,
    seed: int = 7,
    **rest: Any,
) -> Path:
    """Write a bundle of random trees, the same for a seed, which both engines serve; `rest` as for `write_bundle`."""
    forest = make_forest(
        np.random.default_rng(seed),
        n_features=len(schema.features),
        n_outputs=n_outputs,
        n_trees=n_trees,
        max_leaves=max_leaves,
        n_codes=8,
    )
    forest = replace(forest, value=forest.value * leaf_scale)
    return write_bundle(path, schema=schema, n_outputs=n_outputs, forest=forest, **rest)


def write_stump_bundle(path: Path, *, schema: Schema = ALL_KINDS, n_outputs: int = 1, **rest: Any) -> Path:
    """Write a bundle of the stumps that `write_bundle` writes as ONNX alone, which both engines serve.

    A server that need not import ONNX Runtime starts in half the processor time.
    """
    forest = stump_forest(len(schema.features), n_outputs)
    return write_bundle(path, schema=schema, n_outputs=n_outputs, forest=forest, **rest)


def rows_of(model: Model) -> RowPredictor:
    """What a server asks of a model, row by row."""
    return RowPredictor(model.bundle, model.engine)


def write_manifest(path: Path, document: object) -> None:
    """Write `manifest.json` unchecked."""
    (path / "manifest.json").write_bytes(msgspec.json.encode(document))


def entry_of(file: Path) -> FileEntry:
    """The manifest's entry of a file on disk."""
    return FileEntry(digest_file(file), file.stat().st_size)


def _stumps(n_features: int, n_outputs: int) -> list[tuple[int, float, float, float, int]]:
    """The feature, threshold, low leaf, high leaf and output of each stump."""
    trees = [
        (feature, _THRESHOLD, *_leaves(feature, output), output)
        for output in range(n_outputs)
        for feature in range(n_features)
    ]
    return trees + [(0, _EXTREME, 0.0, _EXTREME_MARGIN, output) for output in range(n_outputs)]


def stump_forest(n_features: int, n_outputs: int) -> Forest:
    """A forest of stumps: what `margins_of` computes."""
    trees = _stumps(n_features, n_outputs)
    n = len(trees)
    roots = 3 * np.arange(n)

    def nodes(root: Sequence[float], low: Sequence[float], high: Sequence[float], dtype: str) -> np.ndarray:
        return np.stack([root, low, high], axis=1).reshape(-1).astype(dtype)

    leaves, zeros, ones = [LEAF] * n, [0] * n, [1] * n
    forest = Forest(
        n_features=n_features,
        n_outputs=n_outputs,
        tree_offsets=3 * np.arange(n + 1),
        tree_output=np.array([output for *_, output in trees], np.int32),
        feature=nodes([feature for feature, *_ in trees], leaves, leaves, "i4"),
        threshold=nodes([split for _, split, *_ in trees], zeros, zeros, "f8"),
        left=nodes(roots + 1, leaves, leaves, "i4"),
        right=nodes(roots + 2, leaves, leaves, "i4"),
        missing=nodes([Missing.NAN] * n, zeros, zeros, "u1"),
        default_left=nodes(ones, zeros, zeros, "?"),
        category_set=np.full(3 * n, NUMERIC, np.int32),
        value=nodes(zeros, [low for _, _, low, _, _ in trees], [high for _, _, _, high, _ in trees], "f8"),
        cover=nodes([2] * n, ones, ones, "f8"),
        set_offsets=np.zeros(1, np.int64),
        set_codes=np.zeros(0, np.int32),
        base=np.zeros(n_outputs),
    )
    forest.validate()
    return forest


def stumps(n_features: int, n_outputs: int) -> bytes:
    """An ONNX model of one `TreeEnsemble`: what `margins_of` computes."""
    trees = _stumps(n_features, n_outputs)
    n = len(trees)
    node = helper.make_node(
        "TreeEnsemble",
        ["features"],
        ["margin"],
        domain="ai.onnx.ml",
        n_targets=n_outputs,
        aggregate_function=1,
        post_transform=0,
        tree_roots=list(range(n)),
        nodes_featureids=[feature for feature, *_ in trees],
        nodes_splits=_tensor("splits", TensorProto.DOUBLE, [split for _, split, *_ in trees]),
        nodes_modes=_tensor("modes", TensorProto.UINT8, [0] * n),
        nodes_truenodeids=[2 * i for i in range(n)],
        nodes_trueleafs=[1] * n,
        nodes_falsenodeids=[2 * i + 1 for i in range(n)],
        nodes_falseleafs=[1] * n,
        nodes_missing_value_tracks_true=[1] * n,
        leaf_targetids=[output for *_, output in trees for _ in range(2)],
        leaf_weights=_tensor("weights", TensorProto.DOUBLE, [w for _, _, low, high, _ in trees for w in (low, high)]),
    )
    graph = helper.make_graph(
        [node],
        "stumps",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, n_features])],
        [helper.make_tensor_value_info("margin", TensorProto.DOUBLE, [None, n_outputs])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def _leaves(feature: int, output: int) -> tuple[float, float]:
    return -(feature + 1) / 8, (feature + 1) * (output + 1) / 4


def _tensor(name: str, kind: int, values: list[float]) -> object:
    dtype = np.uint8 if kind == TensorProto.UINT8 else np.float64
    return helper.make_tensor(name, kind, [len(values)], np.array(values, dtype=dtype))
