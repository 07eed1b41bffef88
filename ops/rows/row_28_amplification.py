"""Row 28: a few kilobytes of gzip that expand to millions of empty fields, over gRPC and REST."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import grpc

from bundles import write_bundle
from grpc_peer import Peer, address_of
from raw_http import request
from running import Server, serving
from scoreboard import Bar, Finding, Row

_BYTES = 8 << 20
_PARTS = {
    "inputs": b"\x2a\0",
    "outputs": b"\x32\0",
    "parameters": b"\x22\0",
    "raw_input_contents": b"\x3a\0",
    "unknown fields": b"\x78\1",
}
_OBJECTS = {
    "inputs": b'{"inputs":[%b]}',
    "outputs": b'{"inputs":[],"outputs":[%b]}',
    "parameters": b'{"inputs":[],"parameters":{"a":[%b]}}',
}
_CPU_S = 0.05
_NO_LIMITS = (
    "from mlrf.serving.oip.counts import CountLimits\n"
    "CountLimits.check_message = CountLimits.check_json = lambda self, body: None\n"
)


def _cpu_s(server: Server) -> float:
    (pid,) = server.workers()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _found(broken_by: str) -> Finding:
    costs, accepted = [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        with serving(path, workers=1, options=["--grpc-port", "0"], broken_by=broken_by) as server:
            with Peer(address_of(server)) as peer:
                for part in _PARTS.values():
                    body = part * ((_BYTES - 64) // len(part))
                    before = _cpu_s(server)
                    code = peer.code("ModelInfer", body, compression=grpc.Compression.Gzip, timeout=30)
                    costs.append(_cpu_s(server) - before)
                    accepted += code is not grpc.StatusCode.INVALID_ARGUMENT
            for document in _OBJECTS.values():
                text = document % b",".join([b'{"name":""}'] * (_BYTES // 12 - 64))
                whole = request("POST", "/v2/models/sample/infer", gzip.compress(text), ["Content-Encoding: gzip"])
                before = _cpu_s(server)
                with server.client() as client:
                    client.send(whole)
                    accepted += client.answer().status not in (400, 422)
                costs.append(_cpu_s(server) - before)
    # Inflating eight megabytes takes part of this, and processor time is counted in hundredths of a second.
    return Finding.of(
        Bar("CPU seconds at the most", max(costs), _CPU_S + 0.05),
        Bar("not refused as a fault of the client", accepted, 0),
    )


def measure(planted: bool) -> Finding:
    """Send each; with the fault, fields are not counted before parsing."""
    return _found(_NO_LIMITS if planted else "")


ROW = Row(
    28,
    "8 KB of gzip with millions of empty inputs, outputs, parameters",
    "refused for their number: < 50 ms CPU besides inflating",
    "no count before parsing",
    measure,
    measure,
)
