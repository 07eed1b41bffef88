"""The caller of a gRPC call, from its metadata and connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Caller:
    """The metadata and connection of a call."""

    deadline_s: float
    """The deadline (`perf_counter`); 0 for none."""
    peer: str = ""
    authorization: bytes | None = None
    request_id: bytes | None = None
    traceparent: bytes | None = None
