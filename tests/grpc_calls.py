"""Calls of gRPC against a handler in this process, over a socket, with h2 as the client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events

from http2_server import http2_server
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http2.wire_frames import ErrorCode
from mlrf.serving.oip.grpc.call_handler import CallHandler
from mlrf.serving.oip.grpc.call_head import read_call_head
from mlrf.serving.oip.grpc.inference_calls import simple
from mlrf.serving.oip.grpc.limits import CallLimits
from mlrf.serving.routes import layout
from mlrf.serving.telemetry.logs import Log

INFER = "/inference.GRPCInferenceService/ModelInfer"
MAX_BYTES = 1000


class Status(NamedTuple):
    """The end of a call."""

    http: str
    code: int
    details: str
    message: bytes


class Calls:
    """One connection."""

    def __init__(self, running, meter) -> None:
        self.meter = meter
        self._socket = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.config.validate_outbound_headers = False
        self._h2.initiate_connection()
        self._fields: dict[int, dict[str, str]] = {}
        self._content: dict[int, bytearray] = {}
        self._ended: set[int] = set()

    def send(self, path: str, body: bytes, headers: Mapping[str, str] = {}, *, raw: bool = False) -> int:
        """Send a call; return its stream."""
        stream = self._h2.get_next_available_stream_id()
        known = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a"}
        known |= {"content-type": "application/grpc", "te": "trailers", **headers}
        self._fields[stream], self._content[stream] = {}, bytearray()
        self._h2.send_headers(stream, list(known.items()))
        self._h2.send_data(stream, body if raw else b"\0" + len(body).to_bytes(4, "big") + body, end_stream=True)
        self._socket.sendall(self._h2.data_to_send())
        return stream

    def reset(self, stream: int) -> None:
        """Cancel a call."""
        self._h2.reset_stream(stream, ErrorCode.CANCEL)
        self._socket.sendall(self._h2.data_to_send())

    def end_of(self, stream: int) -> Status:
        """Return how a call ends."""
        while stream not in self._ended:
            content = self._socket.recv(1 << 16)
            assert content, "the server closed the connection"
            for event in self._h2.receive_data(content):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    self._fields[event.stream_id] |= dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self._content[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self._ended.add(event.stream_id)
            self._socket.sendall(self._h2.data_to_send())
        fields = self._fields[stream]
        details = unquote(fields.get("grpc-message", ""))
        return Status(fields[":status"], int(fields.get("grpc-status", -1)), details, bytes(self._content[stream][5:]))

    def status(self, path: str, body: bytes, headers: Mapping[str, str] = {}, *, raw: bool = False) -> Status:
        """Call; return how it ends."""
        return self.end_of(self.send(path, body, headers, raw=raw))

    def ask(self, path: str, body: bytes) -> bytes:
        """Call; return the answer."""
        status = self.status(path, body)
        assert status.code == 0, status
        return status.message

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Meter:
    """Keeps the statuses that are counted."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def count_request(self, _route: int, status: int, _elapsed_s: float) -> None:
        """Count an answer."""
        self.statuses.append(status)


@contextlib.contextmanager
def calls_answered_by(handler, max_bytes: int = MAX_BYTES) -> Iterator[Calls]:
    """Answer ModelInfer by a handler."""
    with http2_server() as running:
        meter = Meter()
        running.runtime.request_meter = meter
        calls = CallHandler(
            running.runtime, ErrorEncoder(Log("error")), None, layout(grpc=True), CallLimits(max_bytes, 30.0, 30.0)
        )
        calls.answer_by({INFER: simple(handler)}, {})
        running.server.read_head = read_call_head
        running.server.open_stream = calls.open
        client = Calls(running, meter)
        try:
            yield client
        finally:
            client.close()
