"""Reads and checks an ONNX file as a protobuf: of a possible size, complete, and without external data."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from mlrf.builder.model_source import ModelFile, Source
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

MAX_BYTES = 1 << 30
"""Trees of a gigabyte are millions of leaves; the limit of a protobuf is twice that."""
ML_DOMAIN = "ai.onnx.ml"
TREE_OPERATORS = ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")

_SHOWN_CHARS = 200


def read_document(source: Source) -> tuple[onnx.ModelProto, bytes]:
    """Return a model and its bytes; ModelUnreadableError or UnsupportedModelError says what is wrong with it.

    Weights in other files are refused, because nothing is read outside the file; so are functions.
    """
    raw = _bytes_of(source)
    if len(raw) > MAX_BYTES:
        raise UnsupportedModelError(f"the ONNX file has {len(raw)} bytes; mlrf reads up to {MAX_BYTES >> 30} GiB")
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf's errors differ from one implementation to the next
        raise ModelUnreadableError("the ONNX file is damaged or cut off; export the model again") from error
    if not model.graph.node:
        raise ModelUnreadableError("the ONNX file contains no operator; export the model again")
    _refuse_external_data(model)
    return model, raw


def check(model: onnx.ModelProto) -> None:
    """Check a model by ONNX's own rules; ModelUnreadableError says which one it breaks."""
    if untyped := [index for index, value in enumerate(model.graph.output) if not value.HasField("type")]:
        # skl2onnx declares no type for ZipMap's output, and ONNX Runtime needs none.
        whole, model = model, onnx.ModelProto()
        model.CopyFrom(whole)
        for index in untyped:
            kind = onnx.helper.make_tensor_value_info("", onnx.TensorProto.FLOAT, [None, None]).type
            model.graph.output[index].type.CopyFrom(kind)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker's own errors, and those that its C++ throws for a damaged model
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0][:_SHOWN_CHARS] if lines else type(error).__name__
        raise ModelUnreadableError(f"the ONNX file breaks ONNX's own rules: {reason}") from error


def _bytes_of(source: Source) -> bytes:
    if isinstance(source, ModelFile):
        return source.content
    if not isinstance(source.value, onnx.ModelProto):
        raise UnsupportedModelError(f"mlrf builds from an ONNX ModelProto, not from {type(source.value).__name__}")
    return bytes(source.value.SerializeToString(deterministic=True))


def _refuse_external_data(model: onnx.ModelProto) -> None:
    if model.functions:
        raise UnsupportedModelError(
            f"the ONNX file defines functions ({model.functions[0].name!r}); export it with plain operators"
        )
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise UnsupportedModelError(
            "the ONNX file stores tensors in other files (external data), which mlrf does not read; save it in one file: "
            "onnx.save(model, path, save_as_external_data=False)"
        )


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            if attribute.sparse_tensor.dims:
                yield attribute.sparse_tensor.values
                yield attribute.sparse_tensor.indices
            for within in (attribute.g, *attribute.graphs):
                yield from _tensors(within)
