"""An inference request in every wire format: REST as JSON and as binary tensors, gRPC as values and as raw contents."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grpc_peer import Peer
from mlrf.serving.oip.grpc.message_types import message
from running import Server

CODES = {
    "FP64": "d", "FP32": "f", "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
}  # fmt: skip
"""What `struct` calls the datatypes of numbers."""
_FIELDS = {
    "BOOL": "bool", "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int64",
    "UINT8": "uint", "UINT16": "uint", "UINT32": "uint", "UINT64": "uint64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes",
}  # fmt: skip
"""Where a protobuf message has values of a datatype, by the specification's names."""


@dataclass(frozen=True)
class Tensor:
    """One input: values in their order, None for a missing float."""

    name: str
    datatype: str
    values: Sequence[Any]
    shape: Sequence[int]
    blob: bytes | None = None
    """Content of the binary formats instead of the values."""

    def raw(self) -> bytes:
        """The values in the layout of both binary formats."""
        if self.blob is not None:
            return self.blob
        if self.datatype == "BYTES":
            texts = [value.encode() for value in self.values]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        values = [math.nan if value is None else value for value in self.values]
        return struct.pack(f"<{len(values)}{CODES.get(self.datatype, 'd')}", *values)


def read_raw(datatype: str, data: bytes) -> list[Any]:
    """The values that both binary forms hold."""
    if datatype != "BYTES":
        code = CODES[datatype]
        return list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data))
    texts = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        texts.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return texts


@dataclass(frozen=True)
class ParsedRequest:
    """A request without most of the optional members."""

    inputs: Sequence[Tensor]
    model: str = "sample"
    version: str = ""
    outputs: Sequence[str] = ()
    id: str = ""
    parameters: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorStatus:
    """The result of a request: its outputs, or the error."""

    outputs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """In the order in which they came."""
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    status: int | str = "OK"
    """The HTTP status, or the name of the gRPC code."""
    code: str = ""
    error: str = ""


Tamper = Callable[[bytes, int], tuple[bytes, int]]
"""From a message and the length of its JSON (0: there is none) to others."""


def _as_it_is(body: bytes, length: int) -> tuple[bytes, int]:
    return body, length


class RestWire:
    """Sends requests over HTTP; without a server it only encodes messages."""

    def __init__(self, server: Server | None, *, binary: bool) -> None:
        self.name = "REST, binary" if binary else "REST, JSON"
        self._server = server
        self.binary = binary

    def infer(
        self, parsed: ParsedRequest, tamper: Tamper = _as_it_is, headers: Sequence[str] = (), key: str = ""
    ) -> ErrorStatus:
        """The metadata from the server."""
        body, length = tamper(*self.message(parsed))
        lines = [*headers, *([f"Inference-Header-Content-Length: {length}"] if length else [])]
        lines += [f"Authorization: Bearer {key}"] if key else []
        version = f"/versions/{parsed.version}" if parsed.version else ""
        answer = self._server.ask("POST", f"/v2/models/{parsed.model}{version}/infer", body, lines)
        if answer.status != 200:
            error = answer.json
            return ErrorStatus(status=answer.status, code=error["code"], error=error["error"])
        n = int(answer.headers.get("inference-header-content-length", len(answer.body)))
        document, rest = json.loads(answer.body[:n]), answer.body[n:]
        outputs = {}
        for each in document["outputs"]:
            if self.binary:
                size = each["parameters"]["binary_data_size"]
                outputs[each["name"]] = read_raw(each["datatype"], rest[:size])
                rest = rest[size:]
            else:
                outputs[each["name"]] = each["data"]
        assert rest == b""
        shapes = {each["name"]: each["shape"] for each in document["outputs"]}
        return ErrorStatus(outputs, shapes, document["parameters"], document.get("id", ""))

    def message(self, parsed: ParsedRequest) -> tuple[bytes, int]:
        """The body, and how much of it is JSON (0 for all)."""
        inputs, blobs = [], []
        for each in parsed.inputs:
            tensor: dict[str, Any] = {"name": each.name, "shape": list(each.shape), "datatype": each.datatype}
            if self.binary:
                blobs.append(each.raw())
                tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                tensor["data"] = list(each.values)
            inputs.append(tensor)
        document: dict[str, Any] = {"inputs": inputs}
        if parsed.parameters:
            document["parameters"] = dict(parsed.parameters)
        if parsed.outputs:
            document["outputs"] = [
                {"name": name, "parameters": {"binary_data": self.binary}} for name in parsed.outputs
            ]
        elif self.binary:
            document.setdefault("parameters", {})["binary_data_output"] = True
        if parsed.id:
            document["id"] = parsed.id
        text = json.dumps(document).encode()
        return text + b"".join(blobs), len(text) if self.binary else 0


class GrpcWire:
    """Sends requests over gRPC; without a peer it only encodes messages."""

    def __init__(self, peer: Peer | None, *, raw: bool) -> None:
        self.name = "gRPC, raw" if raw else "gRPC, values"
        self._peer = peer
        self.binary = raw

    def infer(
        self, parsed: ParsedRequest, tamper: Tamper = _as_it_is, headers: Sequence[str] = (), key: str = ""
    ) -> ErrorStatus:
        """The metadata from the server."""
        body, _ = tamper(*self.message(parsed))
        metadata = [("authorization", f"Bearer {key}")] if key else []
        metadata += [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in headers)]
        answer = self._peer.ask("ModelInfer", body, metadata=metadata)
        if not isinstance(answer, bytes):
            trailing = dict(answer.trailing_metadata())
            return ErrorStatus(status=answer.code().name, code=trailing.get("mlrf-code", ""), error=answer.details())
        error = message("ModelInferResponse").FromString(answer)
        return ErrorStatus(
            self._outputs(error),
            {each.name: list(each.shape) for each in error.outputs},
            {name: getattr(each, each.WhichOneof("parameter_choice")) for name, each in error.parameters.items()},
            error.id,
        )

    def _outputs(self, tensors: Any) -> dict[str, list[Any]]:
        """The values of each output, in the form in which the inputs were sent."""
        if self.binary:
            assert not any(each.HasField("contents") for each in tensors.outputs)
            pairs = zip(tensors.outputs, tensors.raw_output_contents, strict=True)
            return {each.name: read_raw(each.datatype, data) for each, data in pairs}
        assert not tensors.raw_output_contents
        found = {}
        for each in tensors.outputs:
            values = list(getattr(each.contents, _FIELDS[each.datatype] + "_contents"))
            found[each.name] = [value.decode() for value in values] if each.datatype == "BYTES" else values
        return found

    def message(self, parsed: ParsedRequest) -> tuple[bytes, int]:
        """The message, which has no JSON part."""
        request = message("ModelInferRequest")(model_name=parsed.model, model_version=parsed.version, id=parsed.id)
        for name in parsed.outputs:
            request.outputs.add(name=name)
        for name, value in parsed.parameters.items():
            request.parameters[name].bool_param = value
        for each in parsed.inputs:
            tensor = request.inputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
            if self.binary:
                request.raw_input_contents.append(each.raw())
                continue
            values = [math.nan if value is None else value for value in each.values]
            if each.datatype == "BYTES":
                values = [value.encode() for value in values]
            getattr(tensor.contents, _FIELDS.get(each.datatype, "fp64") + "_contents").extend(values)
        return request.SerializeToString(), 0


Wire = RestWire | GrpcWire


def wires(server: Server, peer: Peer) -> dict[str, Wire]:
    """Every form, by name."""
    made: tuple[Wire, ...] = (
        RestWire(server, binary=False),
        RestWire(server, binary=True),
        GrpcWire(peer, raw=False),
        GrpcWire(peer, raw=True),
    )
    return {wire.name: wire for wire in made}
