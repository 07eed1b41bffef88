"""Row 34: gRPC messages cut short by the end of their stream, and a connection that ignores GOAWAY while the server stops."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

from bundles import write_bundle
from grpc_peer import INFERENCE, address_of
from raw_http2 import RawHttp2, message_head
from running import serving
from scoreboard import Bar, Finding, Row

_ANSWERED_S, _STOP_S = 1.0, 2.0
_PATIENT = "import mlrf.serving.http2.server as server\nserver._SETTLE_S = 60\n"


def measure(planted: bool) -> Finding:
    """Send truncated messages, then stop; with the fault, the server waits for the client to close the connection."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        options = ["--grpc-port", "0"]
        broken_by = _PATIENT if planted else ""
        with contextlib.ExitStack() as opened:
            server = opened.enter_context(serving(path, workers=1, options=options, broken_by=broken_by))
            port = int(address_of(server).rpartition(":")[2])
            client = opened.enter_context(RawHttp2(port, acks_pings=False))
            unanswered = 0
            for call in ("ModelInfer", "ModelStreamInfer", "ServerLive"):
                stream = client.call(INFERENCE + call)
                client.send(stream, message_head(100) + b"cut", ends=True)
                unanswered += not client.ended(stream, _ANSWERED_S)
            began = time.monotonic()
            os.kill(server.process.pid, signal.SIGTERM)
            server.wait(30)
            took_s = time.monotonic() - began
    return Finding.of(Bar("calls without an answer", unanswered, 0), Bar("seconds to stop", took_s, _STOP_S))


ROW = Row(
    34,
    "truncated gRPC message with END_STREAM; a connection that ignores GOAWAY",
    "answered with an error; SIGTERM with it < 2 s",
    "the server waits for the client to close",
    measure,
)
