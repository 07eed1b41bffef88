"""gRPC's health service, for load balancers and kubelets; needs no key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mlrf.core.errors import ModelNotFoundError, NotReadyError
from mlrf.core.value_text import clip
from mlrf.serving.oip.grpc.message_types import message, parsed_short

HEALTH = "grpc.health.v1.Health"
_REQUEST = message("grpc.health.v1.HealthCheckRequest")
_RESPONSE = message("grpc.health.v1.HealthCheckResponse")
_LIST_REQUEST = message("grpc.health.v1.HealthListRequest")
_LIST = message("grpc.health.v1.HealthListResponse")
_SERVING: bytes = _RESPONSE(status="SERVING").SerializeToString()
_NOT_SERVING: bytes = _RESPONSE(status="NOT_SERVING").SerializeToString()
_UNKNOWN: bytes = _RESPONSE(status="SERVICE_UNKNOWN").SerializeToString()


class Health:
    """Reports the health of `services` and of the whole server, which are equal."""

    def __init__(self, services: tuple[str, ...], check_ready: Callable[[], None]) -> None:
        """`check_ready` raises NotReadyError while they are not ready."""
        self._services = frozenset(("", *services))
        self._check_ready = check_ready
        self._draining = asyncio.Event()
        self._ended = asyncio.Event()

    def check(self, body: bytes) -> bytes:
        """Answer Check; raises ModelNotFoundError for an unknown service."""
        service = parsed_short(_REQUEST, body).service
        if service not in self._services:
            raise ModelNotFoundError(f"no service is named {clip(service)!r} here", service=clip(service))
        return self._status()

    def list(self, body: bytes) -> bytes:
        """Answer List: the status of each service."""
        parsed_short(_LIST_REQUEST, body)
        status = _RESPONSE.FromString(self._status())
        listed: bytes = _LIST(statuses=dict.fromkeys(sorted(self._services), status)).SerializeToString()
        return listed

    async def watch(self, body: bytes, call: Any) -> None:
        """Answer Watch: the status now, and NOT_SERVING once the server must not get more calls; nothing else changes it."""
        service = parsed_short(_REQUEST, body).service
        status = self._status() if service in self._services else _UNKNOWN
        await call.write(status)
        await self._draining.wait()
        if status == _SERVING:
            await call.write(_NOT_SERVING)
        await self._ended.wait()

    def leave(self) -> None:
        """Notify watchers that the server must not get more calls."""
        self._draining.set()

    def end(self) -> None:
        """Notify watchers, and end their calls."""
        self._draining.set()
        self._ended.set()

    def _status(self) -> bytes:
        try:
            self._check_ready()
        except NotReadyError:
            return _NOT_SERVING
        return _SERVING
