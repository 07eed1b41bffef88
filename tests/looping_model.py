"""An ONNX model that never answers: a `Loop` without an end."""

from __future__ import annotations

import json
from pathlib import Path

from onnx import TensorProto, helper

from bundles import entry_of, write_manifest


def endless(n_features: int) -> bytes:
    """An ONNX model with the signature of a bundle's `model.onnx` that computes for ever."""
    row, margin = [None, n_features], [None, 1]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, row),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.DOUBLE, row),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["", "true", "features"], ["looped"], body=body),
            helper.make_node("ReduceSum", ["looped", "last"], ["margin"], keepdims=1),
        ],
        "endless",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, row)],
        [helper.make_tensor_value_info("margin", TensorProto.DOUBLE, margin)],
        [
            helper.make_tensor("true", TensorProto.BOOL, [], [True]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def replaced(bundle: Path, name: str, content: bytes | None) -> Path:
    """Replace a file of a bundle (None removes it), update the manifest, and return the bundle."""
    file, document = bundle / name, json.loads((bundle / "manifest.json").read_text())
    for each in (file, bundle / "manifest.json"):
        if each.exists():
            each.chmod(0o644)
    if content is None:
        file.unlink()
        del document["files"][name]
    else:
        file.write_bytes(content)
        entry = entry_of(file)
        document["files"][name] = {"sha256": entry.sha256, "size_bytes": entry.size_bytes}
    write_manifest(bundle, document)
    return bundle
