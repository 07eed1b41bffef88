"""`make long-messages`: damaged messages of up to the size limit over gRPC and REST, and their costs.

Sizes are spread evenly over their logarithm, from 1 KiB to 8 MiB. The processor time of the worker is read before and after each
message: one that is damaged must be refused, or answered, within `LIMIT_S`.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundles import write_tree_bundle
from grpc_peer import Peer, address_of
from inference_rows import ROW, one_tensor
from inference_wires import GrpcWire, ParsedRequest, RestWire
from mlrf.serving.oip.grpc.message_types import message
from mutated_messages import KEY, damaged, exchange_fields
from raw_http import Client
from running import serving

LIMIT_S = 0.05
_LEAST_BYTES, _MOST_BYTES = 1 << 10, (8 << 20) - (64 << 10)
_ROW_BYTES = 8 * len(ROW)


@dataclass(frozen=True)
class Cost:
    """The result of one message."""

    seconds: float
    transport: str
    size: int
    status: str
    kind: str


def cpu_s(pid: int) -> float:
    """The processor time of a process, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def long_messages(dice: random.Random, count: int) -> Iterator[tuple[str, str, bytes, list[str]]]:
    """Yield transport, kind of damage, body and header lines."""
    for _ in range(count):
        size = int(_LEAST_BYTES * (_MOST_BYTES / _LEAST_BYTES) ** dice.random())
        kind = dice.choice(("sparse", "fields", "filler", "repeated", "random"))
        transport = dice.choice(("gRPC", "REST"))
        if kind == "random":
            yield transport, kind, dice.randbytes(size), []
            continue
        raw = dice.random() < 0.5
        if kind == "filler":
            yield transport, kind, _filler(transport, dice, size), []
            continue
        rows = [ROW] * max(1, size // (_ROW_BYTES if raw or transport == "gRPC" else 30))
        wire = GrpcWire(None, raw=raw) if transport == "gRPC" else RestWire(None, binary=raw)
        body, length = wire.message(ParsedRequest(one_tensor(rows, "FP64")))
        lines = [f"Inference-Header-Content-Length: {length}"] if length else []
        if kind == "sparse":
            body = damaged(body, dice)
        elif kind == "fields" and transport == "gRPC":
            request = message("ModelInferRequest").FromString(body)
            exchange_fields(request, dice)
            body = request.SerializeToString()
        elif kind == "repeated":
            piece = body[: dice.choice((2, 9, 60, 400))]
            body, lines = (piece * (size // len(piece) + 1))[:size], []
        yield transport, kind, body, lines


def _filler(transport: str, dice: random.Random, size: int) -> bytes:
    """One pattern repeated to the end: empty fields, nested groups, long names, deep arrays."""
    if transport == "gRPC":
        unit = dice.choice(
            (
                b"\x2a\x00",
                b"\x32\x00",
                b"\x22\x00",
                b"\x3a\x00",
                b"\x0b",
                b"\x08\x01",
                b"\x2a\x02\x1a\x00",
                b"\x12\x01x",
            )
        )
        return unit * (size // len(unit))
    unit = dice.choice((b"[", b'{"a":', b"0,", b'"",', b"{},", b"null,", b"1e5,", b'"\\u0000",', b" "))
    start = dice.choice(
        (b"", b'{"inputs":[', b'{"inputs":[{"name":"features","shape":[1,7],"datatype":"FP64","data":[', b'{"id":"')
    )
    return start + unit * (size // len(unit))


def measured(count: int, seed: int = 0) -> tuple[list[Cost], list[str]]:
    """Send a number of messages to a server with one worker; return their results, and the failures."""
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_tree_bundle(Path(folder) / "sample", key=KEY)
        with serving(path, options=["--grpc-port", "0", "--state-dir", f"{folder}/state"]) as server:
            (pid,) = server.booted(1)
            address, client = address_of(server), Client(server.port)
            with Peer(address, options=[("grpc.max_send_message_length", -1)]) as peer:
                for transport, kind, body, lines in long_messages(random.Random(seed), count):
                    before = cpu_s(pid)
                    if transport == "gRPC":
                        status = peer.code("ModelInfer", body).name
                    else:
                        answer = client.ask("POST", "/v2/models/sample/infer", body, lines)
                        status = str(answer.status)
                        if answer.headers.get("connection") == "close":
                            client.socket.close()
                            client = Client(server.port)
                    costs.append(Cost(cpu_s(pid) - before, transport, len(body), status, kind))
            client.socket.close()
            faults = [] if server.workers() == [pid] else ["the worker died"]
            faults += [str(each) for each in server.troubles[:5]]
    wrong = {"500", "INTERNAL", "UNKNOWN", "UNAVAILABLE", "502"}
    faults += [str(cost) for cost in costs if cost.status in wrong]
    return costs, faults


def main(count: int) -> int:
    """Measure, and print how many, the slowest, and what is beyond the limit."""
    costs, faults = measured(count)
    costs.sort(key=lambda cost: -cost.seconds)
    for cost in costs[:10]:
        print(json.dumps(cost.__dict__), flush=True)
    late = [cost for cost in costs if cost.seconds >= LIMIT_S]
    print(
        f"{len(costs)} messages, {sum(c.size for c in costs) >> 20} MiB; {len(late)} took {LIMIT_S:g} s or more; faults: {faults[:5]}"
    )
    return int(bool(late or faults))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
