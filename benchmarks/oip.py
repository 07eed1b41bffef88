"""The Open Inference Protocol compared with the native API in one run: binary tensors over REST, raw contents over gRPC, fresh
rows.

The answer cache is off, and one worker serves everything. Under load, 32 requests are in flight (8 of 100 rows), from
clients that need little time themselves: wrk over HTTP, prepared frames over gRPC. Also measured is grpcio's asyncio
client, which sends each request separately and needs as much time as the server. Latency is that of a Python client that
waits for each answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import processes
from against_peer import BATCH_CONNECTIONS, CONNECTIONS
from contenders import HOST, BenchmarkError, Contender, Running, free_port, serving
from figures import Bar, Figure, at_least
from plan import Plan
from wrk import drive

MODEL = "regression"
CLIENT = Path(__file__).with_name("oip_client.py")
_LIMIT_S = 60


class Load(NamedTuple):
    """One load. Over gRPC the requests in flight share `channels` connections (0: grpcio's one); over HTTP each has its own."""

    what: str
    n_rows: int
    path: str = ""
    """Empty for gRPC."""
    channels: int = 1
    bars: tuple[Bar, ...] = ()

    @property
    def n_concurrent(self) -> int:
        """The number of requests in flight."""
        return CONNECTIONS if self.n_rows == 1 else BATCH_CONNECTIONS


LOADS = (
    Load("one row: native JSON", 1, "/predict"),
    Load("one row: binary REST", 1, f"/v2/models/{MODEL}/infer", bars=(at_least(20_000),)),
    Load("one row: gRPC", 1, bars=(at_least(4_000),)),
    Load("one row: gRPC, 8 connections", 1, channels=8),
    Load("one row: gRPC from grpcio's client", 1, channels=0),
    Load("100 rows: native JSON", 100, "/predict/batch"),
    Load("100 rows: binary REST", 100, f"/v2/models/{MODEL}/infer", bars=(at_least(1_800),)),
    Load("100 rows: gRPC", 100),
)


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield requests per processor second of every load, and the median latency of a client that waits for each answer."""
    rates: dict[Load, list[float]] = defaultdict(list)
    latencies: dict[str, list[float]] = defaultdict(list)
    details: dict[Load, list[Any]] = defaultdict(list)
    for number in range(plan.rounds):
        with tempfile.TemporaryDirectory() as folder:
            grpc_port = free_port()
            contender = Contender("mlrf with gRPC", ("--cache", "0", "--grpc-port", str(grpc_port)))
            home, binary = plan.home(MODEL), {n: Path(folder, f"binary-{n}.txt") for n in (1, 100)}
            for n, path in binary.items():
                _client(["write", str(home), str(n), str(path)])
            with serving(contender, home / "bundle") as running:
                for load in LOADS:
                    plan.say(f"round {number + 1} of {plan.rounds}: {load.what}")
                    for seconds in (1, plan.seconds):
                        result = _drive(running, load, plan, seconds, grpc_port, binary[load.n_rows])
                    rates[load].append(result["per_cpu_s"])
                    details[load].append(result)
                plan.say(f"round {number + 1} of {plan.rounds}: one request at a time")
                for what, found in _client(["wait", str(home), str(running.port), str(grpc_port)]).items():
                    latencies[what].append(found)
    for load, found in rates.items():
        yield Figure(load.what, found, "req/cpu-s", load.bars, {"loads": details[load]})
    for what, found in latencies.items():
        yield Figure(f"p50, one request at a time: {what}", found, "ms")


def _drive(running: Running, load: Load, plan: Plan, seconds: int, grpc_port: int, binary: Path) -> Mapping[str, Any]:
    """Run a load and return its result."""
    if load.path:
        native = plan.bodies(MODEL, "positional" if load.n_rows == 1 else "batch")
        bodies = binary if load.path.startswith("/v2") else native
        # The rows of a file are repeated, which is allowed because the cache is off: white space after binary tensors would be
        # refused.
        return vars(drive(running, load.path, bodies, connections=load.n_concurrent, seconds=seconds, repeated=True))
    sizes = [load.n_rows, grpc_port, load.n_concurrent, load.channels, seconds]
    before = processes.cpu_seconds(running.pid)
    result = _client(["load", str(plan.home(MODEL)), *map(str, sizes)])
    cpu_s = processes.cpu_seconds(running.pid) - before
    return result | {"per_cpu_s": result["requests"] / cpu_s}


def _client(arguments: list[str]) -> dict[str, Any]:
    """Run a client command in a separate process and return its result; BenchmarkError if it fails."""
    command = [sys.executable, str(CLIENT), HOST, MODEL, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LIMIT_S)
    if done.returncode:
        raise BenchmarkError(f"the client failed: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
