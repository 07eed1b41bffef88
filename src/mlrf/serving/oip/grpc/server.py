"""The gRPC server of a worker: calls over HTTP/2 on the worker's own event loop, next to its HTTP/1.1 server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mlrf.core.errors import ConfigError
from mlrf.serving.auth.access_control import AccessControl
from mlrf.serving.auth.tls import Tls
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http.server import HttpServer
from mlrf.serving.http2.connection import Http2Connection
from mlrf.serving.http2.server import Http2Server
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.grpc.call_handler import CallHandler, Run
from mlrf.serving.oip.grpc.call_head import read_call_head
from mlrf.serving.oip.grpc.health import HEALTH, Health
from mlrf.serving.oip.grpc.inference_calls import calls_of, simple
from mlrf.serving.oip.grpc.limits import call_limits, connection_limits
from mlrf.serving.oip.grpc.message_codec import streamed, streamed_fault
from mlrf.serving.oip.grpc.reflection import REFLECTION, REFLECTION_ALPHA, Reflection
from mlrf.serving.routes import GRPC_CHECK, GRPC_LIST, GRPC_REFLECT, GRPC_STREAM, INFERENCE
from mlrf.serving.telemetry.worker_meter import WorkerMeter

_CHECK_S = 0.5
_ALPN = "h2"


class GrpcServer:
    """The gRPC server of a worker. Create and use it on the worker's event loop."""

    def __init__(
        self,
        http: HttpServer,
        errors: ErrorEncoder,
        access: AccessControl,
        check_ready: Callable[[], None],
        meter: WorkerMeter,
    ) -> None:
        """Share the runtime and the limits of `http`; `check_ready` raises NotReadyError while no calls may come."""
        limits = http.limits
        self._calls = CallHandler(http, errors, access.guard(), meter.layout, call_limits(limits))
        self._server = Http2Server(
            http,
            connection_limits(limits),
            meter,
            http.unsent,
            read_call_head,
            self._calls.open,
        )
        self._access = access
        self._tls: Tls | None = None
        if access.tls is not None:
            self._tls = Tls(access.tls.files, _ALPN)
            self._server.tls_options = {"ssl": self._tls.context, "ssl_handshake_timeout": limits.header_timeout_s}
        self._edition = 0
        self._health = Health((INFERENCE,), check_ready)
        self._reflection = Reflection((INFERENCE, HEALTH, REFLECTION))
        self._streaming = self._streaming_calls()
        self._timer: asyncio.TimerHandle | None = None

    def answer_by(self, plane: DataPlane) -> None:
        """Answer the next messages from another generation's models; those in progress keep theirs."""
        calls = calls_of(plane)
        paths = {f"/{INFERENCE}/{name}": call for name, call in calls.items()}
        paths[GRPC_STREAM] = calls["ModelInfer"]
        paths[GRPC_CHECK] = simple(self._health.check)
        paths[GRPC_LIST] = simple(self._health.list)
        paths[GRPC_REFLECT] = simple(self._reflection.answer)
        self._calls.answer_by(paths, self._streaming)

    def new_connection(self) -> Http2Connection:
        """Return the protocol for a newly accepted connection."""
        return Http2Connection(self._server)

    @property
    def tls_options(self) -> dict[str, Any]:
        """The TLS arguments for asyncio; empty without TLS."""
        return self._server.tls_options

    def start(self) -> None:
        """Start to enforce the timeouts."""
        self._check()

    def leave(self) -> None:
        """Notify health watchers that this server must not get more calls; it continues to answer."""
        self._health.leave()

    async def drain(self, limit_s: float) -> None:
        """End the streams that wait for messages, and let calls in progress finish, for at most `limit_s`."""
        self._health.end()
        self._calls.end_idle_streams()
        await self._server.drain(limit_s)
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._server.check()
        tls = self._access.tls
        if tls is not None and self._tls is not None and tls.edition != self._edition:
            # A file that cannot be read leaves the previous certificates in use.
            with suppress(ConfigError):
                self._tls.reload()
                self._edition = tls.edition
        self._timer = asyncio.get_running_loop().call_later(_CHECK_S, self._check)

    def _streaming_calls(self) -> dict[str, Run]:
        """Return the handlers of the streaming calls."""
        reflect = self._calls.answer_stream(GRPC_REFLECT, bytes)
        return {
            GRPC_STREAM: self._calls.answer_stream(GRPC_STREAM, streamed, streamed_fault),
            f"/{HEALTH}/Watch": self._calls.watch(self._health.watch),
            **{f"/{service}/ServerReflectionInfo": reflect for service in (REFLECTION, REFLECTION_ALPHA)},
        }
