"""An open-loop load that holds every answer to the version it names.

Requests are due at a fixed rate, whatever the server does; one that finds no idle connection waits, and its wait counts.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import uvloop

from raw_http import request

_BEAT_S = 0.002
_ANSWER_LIMIT_S = 20.0


@dataclass
class Tally:
    """What became of the requests: when each was due, how long it took, which version answered."""

    due_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def p99_ms(self, since_s: float = 0.0, until_s: float = float("inf")) -> float:
        """The 99th percentile of the requests that were due in a stretch of time."""
        took = sorted(t for due, t in zip(self.due_s, self.took_s, strict=True) if since_s <= due < until_s)
        return took[len(took) * 99 // 100] * 1e3 if took else float("nan")


class SteadyLoad:
    """`rate` requests a second over `connections`, in a thread of its own, until left."""

    def __init__(
        self,
        port: int,
        rate: float,
        truth: Mapping[str, Sequence[float]],
        bodies: Sequence[object],
        *,
        connections: int = 32,
    ) -> None:
        """`truth`: what each version answers to each of `bodies`, in their order."""
        self.tally = Tally()
        self._port, self._rate, self._truth, self._connections = port, rate, truth, connections
        self._requests = [request("POST", "/predict", body) for body in bodies]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(2 * _ANSWER_LIMIT_S)

    async def _run(self) -> None:
        waiting: deque[tuple[float, int]] = deque()
        more = asyncio.Semaphore(0)
        clients = [asyncio.create_task(self._client(waiting, more)) for _ in range(self._connections)]
        began, sent = time.monotonic(), 0
        while not self._stopped.is_set():
            due = int((time.monotonic() - began) * self._rate)
            for number in range(sent, due):
                waiting.append((began + number / self._rate, number % len(self._requests)))
                more.release()
            sent = due
            await asyncio.sleep(_BEAT_S)
        limit = time.monotonic() + _ANSWER_LIMIT_S
        while waiting and time.monotonic() < limit:
            await asyncio.sleep(_BEAT_S)
        self.tally.faults["never sent"] += len(waiting)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, waiting: deque[tuple[float, int]], more: asyncio.Semaphore) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.tally.faults["connection refused"] += 1
                await asyncio.sleep(0.02)
                continue
            try:
                while await self._one(reader, writer, waiting, more):
                    pass
            finally:
                writer.close()

    async def _one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        waiting: deque[tuple[float, int]],
        more: asyncio.Semaphore,
    ) -> bool:
        """Send one request when it is due; False when the connection is to be left."""
        await more.acquire()
        if reader.at_eof():
            # Closed while it was idle: the request goes out on the next connection.
            more.release()
            return False
        due, which = waiting.popleft()
        try:
            writer.write(self._requests[which])
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                at = head.lower().index(b"content-length: ") + 16
                body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
        except (OSError, EOFError, TimeoutError) as error:
            self.tally.faults[f"lost ({type(error).__name__})"] += 1
            return False
        self._hold(due, which, int(head[9:12]), body)
        return b"connection: close" not in head.lower()

    def _hold(self, due: float, which: int, status: int, body: bytes) -> None:
        tally = self.tally
        if status != 200:
            tally.faults[f"status {status}"] += 1
            return
        said = json.loads(body)
        version = said["version"]
        if version not in self._truth or self._truth[version][which] != said["prediction"]:
            tally.faults["another version's answer"] += 1
        tally.due_s.append(due)
        tally.took_s.append(time.monotonic() - due)
        tally.versions.append(version)
