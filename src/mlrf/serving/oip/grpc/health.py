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
_SERVING: bytes = _RESPONSE(status="SERVING").SerializeToString()
_NOT_SERVING: bytes = _RESPONSE(status="NOT_SERVING").SerializeToString()
_UNKNOWN: bytes = _RESPONSE(status="SERVICE_UNKNOWN").SerializeToString()


class Health:
    """Reports the health of `services` and of the whole server, which are equal."""

    def __init__(self, services: tuple[str, ...], check_ready: Callable[[], None]) -> None:
        """`check_ready` raises NotReadyError while they do not."""
        self._services = frozenset(("", *services))
        self._check_ready = check_ready
        self._leaving = asyncio.Event()

    def check(self, body: bytes) -> bytes:
        """Answer Check; raises ModelNotFoundError for an unknown service."""
        service = parsed_short(_REQUEST, body).service
        if service not in self._services:
            raise ModelNotFoundError(f"no service is named {clip(service)!r} here", service=clip(service))
        return self._status()

    async def watch(self, body: bytes, context: Any) -> None:
        """Answer Watch: the status now, and the other when the server leaves, which is the only change there is."""
        service = parsed_short(_REQUEST, body).service
        is_ours = service in self._services
        await context.write(self._status() if is_ours else _UNKNOWN)
        await self._leaving.wait()
        if is_ours:
            await context.write(_NOT_SERVING)

    def leave(self) -> None:
        """Notify watchers that the server is stopping."""
        self._leaving.set()

    def _status(self) -> bytes:
        try:
            self._check_ready()
        except NotReadyError:
            return _NOT_SERVING
        return _SERVING
