"""The gRPC server of a worker: grpcio's asyncio server on the worker's own event loop, next to its HTTP server.

grpcio starts threads and binds its listener itself. Therefore a worker imports this module after the fork, and its listener
cannot be inherited by the worker's replacement.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

# Set before the import, which reads these variables. The core would write log lines that are not JSON. A listener of the event
# engine passes messages from thread to thread; the older listener reads in the thread that waits, which saves a fifth of the
# time (ADR 12).
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

import grpc

from mlrf.core.errors import ConfigError
from mlrf.serving.auth.access_control import AccessControl
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.grpc.call_handler import CallHandler
from mlrf.serving.oip.grpc.connections import close_connections
from mlrf.serving.oip.grpc.credentials import server_credentials
from mlrf.serving.oip.grpc.health import HEALTH, Health
from mlrf.serving.oip.grpc.inference_calls import calls_of, simple
from mlrf.serving.oip.grpc.message_codec import streamed, streamed_fault
from mlrf.serving.oip.grpc.metadata_limit import is_no_trouble, limit_metadata
from mlrf.serving.oip.grpc.reflection import REFLECTION, REFLECTION_ALPHA, Reflection
from mlrf.serving.oip.grpc.unacknowledged import UnacknowledgedConnections
from mlrf.serving.oip.grpc.unfinished_messages import UnfinishedMessages
from mlrf.serving.oip.grpc.unsent_answers import UnsentAnswers
from mlrf.serving.routes import GRPC_CALLS, GRPC_CHECK, GRPC_LIST, GRPC_REFLECT, GRPC_STREAM, INFERENCE
from mlrf.serving.runtime.request_runtime import RequestRuntime
from mlrf.serving.telemetry.library_logs import forward_records
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.worker_meter import WorkerMeter

_MOST_STREAMS = 256
"""Most concurrent calls of one connection; more wait at the client."""
_LOOKAHEAD_BYTES = 65535
_LEAST_PING_MS = 5_000
"""Clients that send keep-alive pings more often are disconnected."""
_MOST_PENDING, _MOST_PENDING_EVER = 1000, 2000
"""How many calls may wait to be accepted, a fraction of a second: from the first number on the core cancels some, from the
second all."""
_SWEEP_S = 0.5
_SETTINGS_MARGIN_S = 0.5
"""How late the core may end a connection that has acknowledged no settings."""
_SETTLE_S, _GOAWAY_S, _LINGER_S = 0.05, 0.02, 0.5
"""Seconds for calls in transit to a stopping server, for its GOAWAY to reach clients, and for the last answers."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Limits of gRPC clients in bytes and seconds, as over HTTP."""

    max_message_bytes: int
    max_connections: int
    handshake_timeout_s: float
    request_timeout_s: float
    """Seconds from the headers of a call to its complete message."""
    idle_timeout_s: float
    """Seconds for a connection without calls, and for the next message of a stream."""
    write_timeout_s: float


class GrpcServer:
    """The gRPC server of a worker. Create and use it on the worker's event loop."""

    def __init__(
        self,
        runtime: RequestRuntime,
        limits: GrpcLimits,
        errors: ErrorEncoder,
        access: AccessControl,
        check_ready: Callable[[], None],
        meter: WorkerMeter,
        log: Log,
    ) -> None:
        """`check_ready` raises NotReadyError while the server must not get calls."""
        forward_records("grpc", log, "gRPC library warning", ignored=is_no_trouble)
        limit_metadata()
        times_s = limits.request_timeout_s, limits.idle_timeout_s
        self._port = 0
        self._meter = meter
        self._unacknowledged = UnacknowledgedConnections(
            limits.handshake_timeout_s + _SETTINGS_MARGIN_S, partial(meter.count_cut, "unacknowledged")
        )
        self._messages = UnfinishedMessages(
            runtime.admission, limits.max_message_bytes, *times_s, self._unacknowledged.note_message
        )
        self._unsent = UnsentAnswers(limits.write_timeout_s, self._cut_slow_readers)
        self._calls = CallHandler(
            runtime, errors, access.guard(), self._messages, self._unsent, limits.write_timeout_s, meter.layout
        )
        self._access = access
        self._health = Health((INFERENCE,), check_ready)
        self._reflection = Reflection((INFERENCE, HEALTH, REFLECTION))
        self._server = grpc.aio.server(handlers=(_Handlers(self._handlers()),), options=_options(limits))

    def answer_by(self, plane: DataPlane) -> None:
        """Answer the next messages from another generation's models; those in progress keep theirs."""
        calls = calls_of(plane)
        paths = {f"/{INFERENCE}/{name}": call for name, call in calls.items()}
        paths[GRPC_STREAM] = calls["ModelInfer"]
        paths[GRPC_CHECK] = simple(self._health.check)
        paths[GRPC_LIST] = simple(self._health.list)
        paths[GRPC_REFLECT] = simple(self._reflection.answer)
        self._calls.answer_by(paths)

    async def start(self, host: str, port: int) -> None:
        """Start to listen; raises ConfigError if the port cannot be bound."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        tls = self._access.tls
        try:
            if tls is None:
                self._port = self._server.add_insecure_port(address)
            else:
                self._port = self._server.add_secure_port(address, server_credentials(tls))
        except RuntimeError as error:
            raise ConfigError(f"--grpc-port: cannot listen on {address}: {error}", option="--grpc-port") from error
        self._messages.start()
        self._unacknowledged.start(self._port, self._messages.peers)
        self._sweep_unsent()
        await self._server.start()

    def leave(self) -> None:
        """Notify health watchers that this server must not get more calls; it continues to answer."""
        self._health.leave()

    async def drain(self, limit_s: float) -> None:
        """Accept no more calls, and let those in progress finish, for at most `limit_s`.

        When grpcio stops, it ends calls with CANCELLED that arrive later or that no handler has yet. Therefore answers are
        delayed for a moment, in which calls in transit arrive, and are sent after GOAWAY, so that a client that waits for an
        answer sends its next call to another worker. Measured: of six clients that send call after call, five lost one when
        their worker was replaced; now none does.
        """
        self._health.end()
        self._calls.pause_sending()
        await asyncio.sleep(min(_SETTLE_S, limit_s))
        stopping = asyncio.create_task(self._server.stop(limit_s))
        self._calls.end_idle_streams()
        await asyncio.sleep(_GOAWAY_S)
        self._calls.resume_sending()
        finishing = asyncio.create_task(self._calls.finish())
        await asyncio.wait((stopping, finishing), return_when=asyncio.FIRST_COMPLETED)
        # Answers have been sent; a client that ignores GOAWAY would keep its connection.
        await asyncio.wait((stopping,), timeout=_LINGER_S)
        await self._server.stop(None)
        await stopping
        finishing.cancel()
        self._messages.stop()
        self._unacknowledged.stop()

    def _sweep_unsent(self) -> None:
        self._unsent.sweep()
        asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep_unsent)

    def _cut_slow_readers(self, peers: Collection[str]) -> None:
        for _ in range(close_connections(self._port, peers)):
            self._meter.count_cut("slow_reader")

    def _handlers(self) -> dict[str, Any]:
        """Return grpcio's handler of each path: for unparsed bytes.

        A call of one message is registered as a stream, because grpcio would read the message of any other before it calls the
        handler; on the wire they are the same.
        """
        calls = self._calls
        handlers = {each.path: grpc.stream_unary_rpc_method_handler(calls.unary(each.path)) for each in GRPC_CALLS}
        infer_stream = calls.stream(GRPC_STREAM, streamed, streamed_fault)
        reflection_stream = grpc.stream_stream_rpc_method_handler(calls.stream(GRPC_REFLECT, bytes))
        handlers[GRPC_STREAM] = grpc.stream_stream_rpc_method_handler(infer_stream)
        handlers[f"/{HEALTH}/Watch"] = grpc.stream_stream_rpc_method_handler(calls.watch(self._health.watch))
        for service in (REFLECTION, REFLECTION_ALPHA):
            handlers[f"/{service}/ServerReflectionInfo"] = reflection_stream
        return handlers


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Finds the handler of a path; grpcio refuses other paths itself."""

    def __init__(self, handlers: Mapping[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call, None for an unknown path."""
        return self._handlers.get(handler_call_details.method)


def _options(limits: GrpcLimits) -> list[tuple[str, int]]:
    """Return the channel options of grpcio's core: every wait has a limit, as over HTTP."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", _MOST_STREAMS),
        # It would count streams that have ended until the core frees them, and refuse calls of clients that keep to the limit.
        ("grpc.http.overload_protection", 0),
        # A stream may send this much before it is read; with bandwidth probes it would become 128 MB (ADR 13).
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING_EVER),
        ("grpc.server_handshake_timeout_ms", _ms(limits.handshake_timeout_s)),
        # Until a client acknowledges the settings, the core does not enforce limits of streams or metadata.
        ("grpc.http2.settings_timeout", _ms(limits.handshake_timeout_s)),
        ("grpc.max_connection_idle_ms", _ms(limits.idle_timeout_s)),
        # Detect peers that are gone without closing the connection: their calls would wait without end.
        ("grpc.keepalive_time_ms", _ms(limits.idle_timeout_s)),
        ("grpc.keepalive_timeout_ms", _ms(limits.write_timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _LEAST_PING_MS),
    ]


def _ms(limit_s: float) -> int:
    return max(1, int(limit_s * 1e3))
