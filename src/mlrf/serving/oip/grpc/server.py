"""The gRPC server of a worker: calls over HTTP/2 on the worker's own event loop, next to its HTTP/1.1 server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from mlrf.core.errors import ConfigError
from mlrf.serving.auth.access_control import AccessControl
from mlrf.serving.auth.tls import Tls
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http.server import HttpServer
from mlrf.serving.http2.connection import Http2Connection
from mlrf.serving.http2.server import Http2Limits, Http2Server
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.grpc.call_handler import CallHandler, Run
from mlrf.serving.oip.grpc.call_head import read_call_head
from mlrf.serving.oip.grpc.health import HEALTH, Health
from mlrf.serving.oip.grpc.inference_calls import calls_of, simple
from mlrf.serving.oip.grpc.message_codec import streamed, streamed_fault
from mlrf.serving.oip.grpc.reflection import REFLECTION, REFLECTION_ALPHA, Reflection
from mlrf.serving.routes import GRPC_CHECK, GRPC_LIST, GRPC_REFLECT, GRPC_STREAM, INFERENCE
from mlrf.serving.telemetry.worker_meter import WorkerMeter

_CHECK_S = 0.5
_ALPN = "h2"
_ACCEPTS_A_TURN = 8
"""As in processes/accept.py."""


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
        self._calls = CallHandler(
            http,
            errors,
            access.guard(),
            meter.layout,
            limits.max_body_bytes,
            limits.request_timeout_s,
            limits.idle_timeout_s,
        )
        self._server = Http2Server(
            http,
            Http2Limits(limits.max_connections, limits.header_timeout_s, limits.idle_timeout_s, limits.write_timeout_s),
            meter,
            http.unsent,
            read_call_head,
            self._calls.open,
        )
        self._access = access
        self._tls: Tls | None = None
        self._edition = 0
        self._health = Health((INFERENCE,), check_ready)
        self._reflection = Reflection((INFERENCE, HEALTH, REFLECTION))
        self._streaming = self._streaming_calls()
        self._accepting: list[asyncio.Server] = []
        self._listener: socket.socket | None = None
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

    async def start(self, host: str, port: int, backlog: int) -> None:
        """Start to listen; raises ConfigError if the port cannot be bound."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        try:
            listener.bind((host, port))
            listener.listen(backlog)
        except OSError as error:
            listener.close()
            raise ConfigError(
                f"--grpc-port: cannot listen on {host}:{port}: {error.strerror}", option="--grpc-port"
            ) from error
        self._listener = listener
        loop = asyncio.get_running_loop()
        if self._access.tls is not None:
            self._tls = Tls(self._access.tls.files, _ALPN)
            timeout_s = self._server.limits.header_timeout_s
            self._server.tls_options = {"ssl": self._tls.context, "ssl_handshake_timeout": timeout_s}
        for _ in range(_ACCEPTS_A_TURN):
            self._accepting.append(
                await loop.create_server(
                    lambda: Http2Connection(self._server),
                    sock=listener.dup(),
                    backlog=backlog,
                    **self._server.tls_options,
                )
            )
        self._check()

    def leave(self) -> None:
        """Notify health watchers that this server must not get more calls; it continues to answer."""
        self._health.leave()

    async def drain(self, limit_s: float) -> None:
        """Accept no more calls, and let those in progress finish, for at most `limit_s`."""
        self._health.end()
        for server in self._accepting:
            server.close()
        await self._take_queued()
        self._calls.end_idle_streams()
        await self._server.drain(limit_s)
        if self._timer is not None:
            self._timer.cancel()

    async def _take_queued(self) -> None:
        """Accept the connections that the kernel has accepted already; without TLS, whose handshakes could take long."""
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while not self._server.tls_options:
                client, _ = self._listener.accept()
                await loop.connect_accepted_socket(lambda: Http2Connection(self._server), client)
        self._listener.close()

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
        """Return the handlers of the calls that are no unary calls."""
        reflect = self._calls.answer_stream(GRPC_REFLECT, bytes)
        return {
            GRPC_STREAM: self._calls.answer_stream(GRPC_STREAM, streamed, streamed_fault),
            f"/{HEALTH}/Watch": self._calls.watch(self._health.watch),
            **{f"/{service}/ServerReflectionInfo": reflect for service in (REFLECTION, REFLECTION_ALPHA)},
        }
