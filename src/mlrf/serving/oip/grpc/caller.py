"""The caller of a gRPC call, from its metadata and connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from mlrf.serving.runtime.request_runtime import REQUEST_ID

_NAMES = frozenset(("authorization", "x-request-id", "traceparent"))


@dataclass(slots=True)
class Caller:
    """The metadata and connection of a call."""

    deadline_s: float
    """The deadline (`perf_counter`); 0 for none."""
    peer: Callable[[], str]
    authorization: bytes | None = None
    request_id: bytes | None = None
    traceparent: bytes | None = None


def caller_of(context: Any) -> Caller:
    """Return the caller of a call, by grpcio's context."""
    left_s = context.time_remaining()
    caller = Caller(0.0 if left_s is None else perf_counter() + left_s, context.peer)
    for name, value in context.invocation_metadata():
        if name in _NAMES:
            content = value.encode() if isinstance(value, str) else value
            if name == "authorization":
                # Two keys are refused, as over HTTP: a proxy may have checked the other one.
                caller.authorization = content if caller.authorization is None else b""
            elif name == "traceparent":
                caller.traceparent = content
            elif REQUEST_ID.fullmatch(content):
                caller.request_id = content
    return caller
