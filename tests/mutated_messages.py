"""`make mutated-messages`: damaged messages of the Open Inference Protocol (REST, gRPC) and Arrow streams; the server must survive.

Every one must be answered or refused as a client error: no 5xx, no INTERNAL or UNKNOWN, no worker that dies, nothing in the log.
Bytes are changed, removed, doubled and inserted; and values are exchanged for invalid ones in a message that is
well-formed, so that the damage reaches the model.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

import arrow_streams
from bundles import ALL_KINDS, write_tree_bundle
from grpc_peer import INFERENCE, Peer, address_of
from inference_rows import ROW, a_tensor_a_feature, one_tensor
from inference_wires import GrpcWire, ParsedRequest, RestWire, Tensor
from mlrf.serving.oip.grpc.message_types import message
from raw_http import Client
from running import serving

KEY = {"shop": "string", "sku": "integer", "open": "boolean"}
_TOKENS = (
    b"-",
    b"9" * 20,
    b'"',
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"null",
    b"NaN",
    b"1e999",
    b"\xff",
    b"\0",
    b"\\u0000",
    b"\\ud800",
)
_VALUES = (
    None, True, False, 0, -1, 1, 7, 1 << 31, 1 << 63, -(1 << 63), 10**30, 0.5, 1e308, "", "FP64", "BYTES", "BOOL", "INT8", "FP16",
    "features", "prediction", "shap_values", "\0", "x" * 2000, [], {}, [[]], [1, 7], [1 << 62, 7], [-1], [None] * 7, [[1.0] * 7], ["a"] * 7,
)  # fmt: skip
_FLOATS = (float("nan"), float("inf"), -0.0, 1e308)
_INTEGERS = (0, -1, 1, 2, 7, 1 << 31, (1 << 62) + 1, -(1 << 63), (1 << 63) - 1)
_TEXTS = (
    "",
    "FP64",
    "INT8",
    "BYTES",
    "BOOL",
    "FP16",
    "features",
    "store",
    "depth",
    "sample",
    "nobody",
    "x" * 2000,
    "\0",
    "1",
    "99",
)
_OTHER_CALLS = ("ModelMetadata", "ModelConfig", "ModelStatistics", "ModelReady", "RepositoryIndex", "ServerMetadata")
SOUND = (
    ParsedRequest(one_tensor([ROW, ROW], "FP64"), outputs=["prediction"], id="7"),
    ParsedRequest(one_tensor([ROW], "FP32"), outputs=["shap_values", "shap_base"]),
    ParsedRequest(a_tensor_a_feature([ROW, ROW], "FP64"), version="1"),
    ParsedRequest(a_tensor_a_feature([[1, 3, 1, 1, 1, 7, 2]], "INT64", shape=(1,))),
    ParsedRequest(
        [Tensor("shop", "BYTES", ["a"], [1]), Tensor("sku", "INT64", [7], [1]), Tensor("open", "BOOL", [True], [1])]
    ),
)


def mutated_bodies(dice: random.Random, count: int) -> Iterator[tuple[bytes, list[str]]]:
    """Yield bodies of `/v2/models/sample/infer`, each with its header lines."""
    wires = [RestWire(None, binary=binary) for binary in (False, True)]
    for _ in range(count):
        body, length = dice.choice(wires).message(dice.choice(SOUND))
        if dice.random() < 0.6:
            text = json.dumps(_exchanged(json.loads(body[: length or None]), dice)).encode()
            body, length = text + (body[length:] if length else b""), len(text) if length else 0
        else:
            body = damaged(body, dice)
        lines = []
        if length or dice.random() < 0.1:
            declared = (
                length
                if dice.random() < 0.9
                else dice.choice([0, 1, length - 1, length + 1, len(body), 10**18, 10**30, -1, "x"])
            )
            lines.append(f"Inference-Header-Content-Length: {declared}")
        if dice.random() < 0.1:
            how, pack = dice.choice([("gzip", gzip.compress), ("deflate", zlib.compress)])
            packed = pack(body)
            body = packed if dice.random() < 0.5 else damaged(packed, dice)
            lines.append(f"Content-Encoding: {how}")
        if dice.random() < 0.2:
            lines.append(f"Accept-Encoding: {dice.choice(['gzip', 'deflate', 'gzip;q=0, deflate', 'br', '*', ';;,'])}")
        yield body, lines


def mutated_calls(dice: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield calls of gRPC and their messages."""
    wires = [GrpcWire(None, raw=raw) for raw in (False, True)]
    for _ in range(count):
        if dice.random() < 0.05:
            name = dice.choice(_OTHER_CALLS)
            sound = (
                b""
                if name.startswith(("Server", "Repository"))
                else message(f"{name}Request")(name="sample").SerializeToString()
            )
            yield name, damaged(sound or b"\x08\x01", dice)
            continue
        body, _ = dice.choice(wires).message(dice.choice(SOUND))
        if dice.random() < 0.6:
            request = message("ModelInferRequest").FromString(body)
            for _ in range(dice.choice((1, 1, 1, 2))):
                exchange_fields(request, dice)
            body = request.SerializeToString()
        else:
            body = damaged(body, dice)
        yield "ModelInfer", body


def damaged(sound: bytes, dice: random.Random) -> bytes:
    """Return bytes with a few of them changed, cut out, doubled or put in."""
    body = bytearray(sound)
    for _ in range(dice.choice((1, 1, 2, 5))):
        position, size = dice.randrange(len(body) or 1), dice.randint(1, 9)
        match dice.randrange(6):
            case 0 if body:
                body[position % len(body)] = dice.randrange(256)
            case 1:
                del body[position : position + size]
            case 2:
                body[position:position] = body[position : position + 10 * size]
            case 3:
                body[position:position] = dice.choice(_TOKENS)
            case 4:
                body[position:position] = dice.randbytes(size)
            case 5 if dice.random() < 0.3:
                del body[position:]
    return bytes(body)


def _exchanged(document: Any, dice: random.Random) -> Any:
    """A document with a few of its values exchanged, taken out or doubled."""
    for _ in range(dice.choice((1, 1, 1, 2))):
        inside = document
        while True:
            if not (isinstance(inside, dict | list) and inside):
                break
            keys = list(inside) if isinstance(inside, dict) else range(len(inside))
            key = dice.choice(keys)
            if dice.random() < 0.95 and isinstance(inside[key], dict | list) and inside[key]:
                inside = inside[key]
                continue
            match dice.randrange(4):
                case 0:
                    del inside[key]
                case 1 if isinstance(inside, list):
                    inside.append(inside[key])
                case _:
                    inside[key] = dice.choice(_VALUES)
            break
    return document


def exchange_fields(request: Any, dice: random.Random) -> None:
    """Exchange a field of a request for an invalid value."""
    tensor = dice.choice(request.inputs) if request.inputs else request.inputs.add()
    match dice.randrange(12):
        case 0:
            tensor.name = dice.choice(_TEXTS)
        case 1:
            tensor.datatype = dice.choice(_TEXTS)
        case 2:
            tensor.shape.append(dice.choice(_INTEGERS))
        case 3 if tensor.shape:
            tensor.shape[dice.randrange(len(tensor.shape))] = dice.choice(_INTEGERS)
        case 4:
            del tensor.shape[:1]
        case 5:
            tensor.contents.fp64_contents.extend([dice.choice(_FLOATS)])
        case 6:
            tensor.contents.bytes_contents.append(dice.randbytes(dice.randint(0, 9)))
        case 7 if request.raw_input_contents:
            index = dice.randrange(len(request.raw_input_contents))
            request.raw_input_contents[index] = damaged(request.raw_input_contents[index], dice)
        case 8:
            request.outputs.add(name=dice.choice(_TEXTS))
        case 9:
            request.inputs.append(tensor)
        case 10:
            request.parameters[dice.choice(_TEXTS)].double_param = dice.choice(_FLOATS)
        case _:
            request.model_version = dice.choice(_TEXTS)


def ask_rest(port: int, count: int, seed: int) -> Counter[str]:
    """Send damaged bodies; return how many had which status."""
    seen: Counter[str] = Counter()
    client = Client(port)
    try:
        for body, lines in mutated_bodies(random.Random(seed), count):
            answer = client.ask("POST", "/v2/models/sample/infer", body, lines)
            seen[str(answer.status)] += 1
            if answer.headers.get("connection") == "close":
                client.socket.close()
                client = Client(port)
    finally:
        client.socket.close()
    return seen


def ask_arrow(port: int, count: int, seed: int) -> Counter[str]:
    """Send damaged Arrow streams to `/predict/batch`, with answers in JSON and in Arrow; return how many had which status."""
    sound = [write() for write in arrow_streams.STREAMS.values()]
    seen: Counter[str] = Counter()
    with Client(port) as client:
        for number in range(count):
            content = arrow_streams.damaged(sound[number % len(sound)], seed * count + number)
            headers = ["Content-Type: application/vnd.apache.arrow.stream"]
            headers += ["Accept: application/vnd.apache.arrow.stream"] if number % 2 else []
            seen[str(client.ask("POST", "/predict/batch", content, headers).status)] += 1
    return seen


def ask_grpc(address: str, count: int, seed: int) -> Counter[str]:
    """Send damaged messages, one in ten on a stream; return how many had which code."""
    seen: Counter[str] = Counter()
    with Peer(address) as peer:
        streamed = []
        for index, (call, body) in enumerate(mutated_calls(random.Random(seed), count)):
            if index % 10 == 9 and call == "ModelInfer":
                streamed.append(body)
                continue
            seen[peer.code(call, body).name] += 1
        answers = peer.channel.stream_stream(INFERENCE + "ModelStreamInfer")(iter(streamed), timeout=60)
        response = message("ModelStreamInferResponse")
        n_answers = 0
        try:
            for answer in answers:
                n_answers += 1
                error = response.FromString(answer).error_message
                seen[
                    "INTERNAL"
                    if "internal error" in error
                    else "refused in a stream"
                    if error
                    else "answered in a stream"
                ] += 1
        except grpc.RpcError as error:
            seen[error.code().name] += 1
        seen["no answer in a stream"] += len(streamed) - n_answers
    return +seen


def wrong(seen: Counter[str]) -> list[str]:
    """Statuses that must not occur."""
    of_sender = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"}
    fine = of_sender | {"refused in a stream", "answered in a stream"}
    return [kind for kind in seen if not (kind in fine or kind == "200" or kind.startswith("4"))]


def _unreadable(folder: Path) -> list[str]:
    """What is wrong with the prediction log: a line that is not JSON, or no lines at all."""
    lines = [line for file in folder.glob("*.jsonl") for line in file.read_bytes().splitlines()]
    try:
        for line in lines:
            json.loads(line, parse_constant=_no_constant)
    except ValueError as error:
        return [f"prediction log: {error}"]
    return [] if lines else ["prediction log: empty"]


def _no_constant(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


def try_both(count: int, seed: int = 0, broken_by: str = "") -> tuple[dict[str, Counter[str]], list[str]]:
    """Send `count` over each transport; return the results, and the failures."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_tree_bundle(Path(folder) / "sample", key=KEY)
        options = ["--grpc-port", "0", "--state-dir", f"{folder}/state", "--admin", f"unix:{folder}/admin.sock"]
        # Observers of requests parse them too, and must survive the same.
        (Path(folder) / "log").mkdir()
        options += ["--prediction-log", f"{folder}/log", "--access-log-rate", "0.05"]
        with serving(path, workers=2, options=options, broken_by=broken_by) as server:
            pids = server.booted(2)
            row = {"key": {"shop": "a", "sku": 7, "open": True}, "features": ALL_KINDS.example()}
            with Client(Path(folder) / "admin.sock") as admin:
                assert admin.ask("POST", "/admin/models/sample/features", {"rows": [row]}).status == 200
            began = time.monotonic()
            seen = {"REST": ask_rest(server.port, count, seed), "gRPC": ask_grpc(address_of(server), count, seed)}
            seen["Arrow"] = ask_arrow(server.port, count, seed)
            print(f"{3 * count / (time.monotonic() - began):.0f} messages a second", flush=True)
            faults = [f"{name}: {kind}" for name, each in seen.items() for kind in wrong(each)]
            faults += [] if server.workers() == pids else ["a worker died"]
            faults += [str(each) for each in server.troubles[:5]]
            for name, each in seen.items():
                if sum(each.values()) < count:
                    faults.append(f"{name}: {sum(each.values())} of {count} were answered")
        # After the server has ended, because its log is written at intervals longer than some hundreds of messages take.
        faults += _unreadable(Path(folder) / "log")
    return seen, faults


def main(count: int) -> int:
    """Try `count` over each transport; 1 when anything is wrong."""
    seen, faults = try_both(count)
    for name, each in seen.items():
        for kind, n in sorted(each.items()):
            print(f"{name}  {kind:22} {n}")
    print(f"{count} messages over each transport, {len(faults)} faults{': ' if faults else ''}{'; '.join(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
