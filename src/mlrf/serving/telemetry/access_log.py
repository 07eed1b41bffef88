"""The access log: a JSON line for each response, or for a sample of them, on standard error like all logs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec

from mlrf.serving.telemetry.log_thread import LogThread
from mlrf.serving.telemetry.logs import stamp

_MAX_WAITING = 20_000
_MAX_WAITING_BYTES = 16 << 20
_MAX_TARGET_CHARS = 1000
_ATOMIC_BYTES = 4096
"""Writes to a pipe of at most this size are atomic: lines of several workers are not mixed (pipe(7))."""


class AccessRecord(msgspec.Struct, frozen=True):
    """One response, as the access log shows it; `time_s` in Unix time."""

    time_s: float
    request_id: bytes
    client: str
    method: bytes
    target: bytes
    route: str
    status: int
    elapsed_s: float
    request_bytes: int
    answer_bytes: int


class AccessLog:
    """Writes a line for each response."""

    def __init__(self, descriptor: int, pid: int) -> None:
        self._descriptor = descriptor
        self._pid = pid
        self._thread = LogThread[AccessRecord]("mlrf-access-log", self._write, _MAX_WAITING, _MAX_WAITING_BYTES)
        self.close = self._thread.close
        self.flush = self._thread.flush
        self.take_counts = self._thread.take_counts

    def put(self, entry: AccessRecord) -> None:
        """Queue a response; its line is written later."""
        self._thread.put(entry, len(entry.target))

    def _write(self, batch: Sequence[AccessRecord]) -> int:
        lost = 0
        chunk, n_lines = b"", 0
        for each in batch:
            line = msgspec.json.encode(self._line(each)) + b"\n"
            if n_lines and len(chunk) + len(line) > _ATOMIC_BYTES:
                lost += self._written(chunk, n_lines)
                chunk, n_lines = b"", 0
            chunk += line
            n_lines += 1
        return lost + self._written(chunk, n_lines)

    def _written(self, chunk: bytes, n_lines: int) -> int:
        try:
            os.write(self._descriptor, chunk)
        except OSError:
            return n_lines
        return 0

    def _line(self, entry: AccessRecord) -> dict[str, Any]:
        return {
            "time": stamp(entry.time_s),
            "level": "info",
            "event": "request",
            "pid": self._pid,
            "request_id": entry.request_id.decode("ascii"),
            "client": entry.client,
            "method": entry.method.decode("ascii", "replace"),
            "target": entry.target.decode("ascii", "backslashreplace")[:_MAX_TARGET_CHARS],
            "route": entry.route,
            "status": entry.status,
            "ms": round(entry.elapsed_s * 1e3, 3),
            "request_bytes": entry.request_bytes,
            "answer_bytes": entry.answer_bytes,
        }
