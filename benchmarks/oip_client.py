"""A client of the Open Inference Protocol in a separate process, so that its imports are neither in the runner nor in the
server.

    python benchmarks/oip_client.py HOST MODEL write HOME ROWS FILE
    python benchmarks/oip_client.py HOST MODEL load HOME ROWS GRPC_PORT CONCURRENT CHANNELS SECONDS
    python benchmarks/oip_client.py HOST MODEL wait HOME PORT GRPC_PORT

`write` writes binary requests for wrk, `load` sends gRPC requests as fast as they are answered, `wait` uses each transport in
turn and waits for each answer. The answers of the first requests are compared with the training library's."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import grpc
import uvloop

from mlrf.demo.load_generator.drive import run_plan
from mlrf.demo.load_generator.grpc_connection import grpc_connections
from mlrf.demo.load_generator.http_connection import Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from mlrf.serving.oip.grpc.message_types import message

CALL = "/inference.GRPCInferenceService/ModelInfer"
LENGTH = "Inference-Header-Content-Length"
BATCHES, CHECKED, WAITED = 100, 20, 500
REQUEST, RESPONSE = message("ModelInferRequest"), message("ModelInferResponse")
LIMIT_S = 30.0


def tables(home: Path, n_rows: int) -> list[bytes]:
    """Return tensors [n_rows, F] of float64, each of different rows until they run out, missing values as NaN."""
    lines = (home / "positional.jsonl").read_text().splitlines()
    rows = [[math.nan if x is None else x for x in json.loads(line)["features"]] for line in lines]
    packed = [struct.pack(f"<{len(row)}d", *row) for row in rows]
    count = len(packed) if n_rows == 1 else BATCHES
    return [b"".join(packed[(i * n_rows + j) % len(packed)] for j in range(n_rows)) for i in range(count)]


def grpc_bodies(model: str, home: Path, n_rows: int) -> list[bytes]:
    """Return messages with raw contents."""
    inputs = {"name": "features", "datatype": "FP64"}
    return [
        REQUEST(
            model_name=model,
            inputs=[inputs | {"shape": [n_rows, len(table) // 8 // n_rows]}],
            raw_input_contents=[table],
        ).SerializeToString()
        for table in tables(home, n_rows)
    ]


def rest_bodies(home: Path, n_rows: int) -> list[tuple[int, bytes]]:
    """Return binary requests, each with the length of its JSON, as clients of Triton send them."""
    bodies = []
    for table in tables(home, n_rows):
        tensor = {"name": "features", "shape": [n_rows, len(table) // 8 // n_rows], "datatype": "FP64"}
        request = {"inputs": [tensor | {"parameters": {"binary_data_size": len(table)}}]}
        head = json.dumps(request | {"parameters": {"binary_data_output": True}}, separators=(",", ":")).encode()
        bodies.append((len(head), head + table))
    return bodies


def write(home: Path, n_rows: int, path: Path) -> dict[str, Any]:
    """Write binary requests as wrk.lua reads them: the length of the JSON, and the body in hexadecimal."""
    path.write_text("".join(f"{length} {body.hex()}\n" for length, body in rest_bodies(home, n_rows)))
    return {}


def check(home: Path, answers: list[bytes]) -> None:
    """Compare the outputs of the first rows with the training library's predictions."""
    expected = [json.loads(line) for line in (home / "expected.jsonl").read_text().splitlines()]
    answered = [x for answer in answers for x in struct.unpack(f"<{len(answer) // 8}d", answer)]
    assert answered, "no answers"
    assert all(map(math.isclose, answered, expected)), f"answered {answered}, the training library predicts {expected}"


async def load(
    model: str, host: str, port: int, home: Path, n_rows: int, n_concurrent: int, channels: int, seconds: float
) -> dict[str, Any]:
    """Send gRPC requests as fast as they are answered: as frames over `channels` connections, or with grpcio if that is 0."""
    bodies = grpc_bodies(model, home, n_rows)
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        call = channel.unary_unary(CALL)
        first = [await call(body, wait_for_ready=True, timeout=LIMIT_S) for body in bodies[:CHECKED]]
        check(home, [RESPONSE.FromString(each).raw_output_contents[0] for each in first])
        if channels:
            plan = LoadPlan(host, port, bodies, channels)
            make_connection = grpc_connections(CALL, n_concurrent // channels)
            report = await run_plan(plan, seconds, judge=judge, make_connection=make_connection)
            assert not report.errors, report.errors
            result = {"requests": report.ok, "per_s": report.rate_achieved}
            result |= {"p50_ms": report.p50_ms, "p99_ms": report.p99_ms}
        else:
            result = await by_grpcio(call, bodies, n_concurrent, seconds)
    return result | {"requests": result["requests"] + len(first)}


def judge(_number: int, _elapsed_s: float, response: Response) -> str | None:
    return f"gRPC status {response.status}: {response.body!r}" if response.status else None


async def by_grpcio(call: Any, bodies: list[bytes], n_concurrent: int, seconds: float) -> dict[str, Any]:
    """Measure grpcio's own client."""
    elapsed: list[float] = []
    until = perf_counter() + seconds

    async def ask(number: int) -> None:
        while (began := perf_counter()) < until:
            await call(bodies[number % len(bodies)], timeout=LIMIT_S)
            elapsed.append(perf_counter() - began)
            number += n_concurrent

    await asyncio.gather(*map(ask, range(n_concurrent)))
    elapsed.sort()
    p50_ms, p99_ms = (1e3 * elapsed[int(share * len(elapsed))] for share in (0.5, 0.99))
    return {"requests": len(elapsed), "per_s": len(elapsed) / seconds, "p50_ms": p50_ms, "p99_ms": p99_ms}


def wait(model: str, host: str, home: Path, port: int, grpc_port: int) -> dict[str, float]:
    """Return the median latency in ms of each transport, one request at a time."""
    connection = http.client.HTTPConnection(host, port, timeout=LIMIT_S)
    channel = grpc.insecure_channel(f"{host}:{grpc_port}")
    call = channel.unary_unary(CALL)

    def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
        assert response.status == http.HTTPStatus.OK, content
        skipped = int(response.headers.get(LENGTH, 0))
        return content[skipped:]

    found, infer = {}, f"/v2/models/{model}/infer"
    for n_rows, path, kind in ((1, "/predict", "positional"), (100, "/predict/batch", "batch")):
        json_bodies = (home / f"{kind}.jsonl").read_bytes().splitlines()
        rest, messages = rest_bodies(home, n_rows), grpc_bodies(model, home, n_rows)
        first = [post(infer, body, {LENGTH: str(length)}) for length, body in rest[:CHECKED]]
        check(home, first)
        what = f"{n_rows} row{'s' * (n_rows > 1)}"
        calls: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
            "native JSON": (
                lambda body, path=path: post(path, body, {"Content-Type": "application/json"}),
                json_bodies,
            ),
            "binary REST": (lambda each: post(infer, each[1], {LENGTH: str(each[0])}), rest),
            "gRPC": (lambda body: call(body, wait_for_ready=True, timeout=LIMIT_S), messages),
        }
        for name, (send, bodies) in calls.items():
            found[f"{name}, {what}"] = median(_took_ms(send, bodies[i % len(bodies)]) for i in range(WAITED))
    return found


def _took_ms(send: Callable[[Any], object], body: Any) -> float:
    began = perf_counter()
    send(body)
    return 1e3 * (perf_counter() - began)


def main(host: str, model: str, what: str, home: Path, *numbers: str) -> None:
    """Run the command, and print the result as JSON."""
    match what:
        case "write":
            found = write(home, int(numbers[0]), Path(numbers[1]))
        case "load":
            n_rows, port, n_concurrent, channels, seconds = map(int, numbers)
            found = uvloop.run(load(model, host, port, home, n_rows, n_concurrent, channels, seconds))
        case "wait":
            found = wait(model, host, home, int(numbers[0]), int(numbers[1]))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]), *sys.argv[5:])
