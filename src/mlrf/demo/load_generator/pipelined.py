"""A load of more requests than can be answered: pipelined, at a rate, without waiting for answers.

It reads status lines only, and measures no latency: parsing each answer would cost it more than the server's refusal costs.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_DEPTH = 256
_SETTLE_S = 15.0
_TICK_S = 0.001
_REFUSED = 503


@dataclass
class PipelinedReport:
    """The answers by status, and the requests that got none."""

    statuses: Counter[int] = field(default_factory=Counter)
    sent: int = 0
    lost: int = 0
    """Requests on connections that ended without an answer."""
    unsent: int = 0
    """Requests that were due while their connection had the greatest number in flight."""
    without_retry_after: int = 0
    elapsed_s: float = 0.0
    """Seconds during which requests were sent."""


class _Pipeline(asyncio.Protocol):
    """A connection with up to `_DEPTH` requests in flight, which counts their answers.

    The depth bounds the data in the buffers: a client without a limit would read for seconds at a time, send
    nothing meanwhile, and rightly be closed as one that sends its requests too slowly.
    """

    def __init__(self, report: PipelinedReport) -> None:
        self._report = report
        self._buffer = b""
        self.n_waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, n: int) -> None:
        n_sent = min(n, _DEPTH - self.n_waiting) if not self.transport.is_closing() else 0
        self._report.unsent += n - n_sent
        if n_sent:
            self.n_waiting += n_sent
            self._report.sent += n_sent
            self.transport.write(request * n_sent)

    def data_received(self, data: bytes) -> None:
        # Complete lines: a status line is in one of these pieces, and the rest is kept for the next read.
        data = self._buffer + data
        end = data.rfind(b"\r\n") + 2
        lines, self._buffer = data[:end], data[end:]
        found = Counter(map(int, _STATUS.findall(lines)))
        self.n_waiting -= found.total()
        self._report.statuses.update(found)
        self._report.without_retry_after += found[_REFUSED] - lines.count(b"Retry-After: ")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the reason changes nothing
        self._report.lost += self.n_waiting
        self.n_waiting = 0


async def drive_pipelined(
    host: str, port: int, request: bytes, *, rate: float, duration_s: float, connections: int
) -> PipelinedReport:
    """Send a complete request `rate` times a second for `duration_s`, and return the counts of the answers."""
    report, loop = PipelinedReport(), asyncio.get_running_loop()
    pipelines = [(await loop.create_connection(lambda: _Pipeline(report), host, port))[1] for _ in range(connections)]
    began = time.perf_counter()
    n_sent = 0
    while (elapsed_s := time.perf_counter() - began) < duration_s:
        n_due = int(elapsed_s * rate / connections) - n_sent
        n_sent += n_due
        for pipeline in pipelines:
            pipeline.send(request, n_due)
        await asyncio.sleep(_TICK_S)
    report.elapsed_s = time.perf_counter() - began
    until = time.perf_counter() + _SETTLE_S
    while time.perf_counter() < until and any(pipeline.n_waiting for pipeline in pipelines):  # noqa: ASYNC110  counted on the hot way
        await asyncio.sleep(10 * _TICK_S)
    for pipeline in pipelines:
        pipeline.transport.close()
    await asyncio.sleep(50 * _TICK_S)
    return report
