"""An open load of checked requests: each is sent when it is due, whatever became of the others, and every answer is judged."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from raw_http import request

Judge = Callable[[int, Any], str | None]
"""From a status and an answer to what is wrong with it."""
LIMIT_S = 60.0


@dataclass
class Outcome:
    """What came of a load. Latencies in seconds, from when a request was due."""

    latencies_s: list[float] = field(default_factory=list)
    in_server_s: dict[int, list[float]] = field(default_factory=dict)
    """By status, what the server says that it took: the client's own waiting is not in it."""
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def percentile_s(self, share: float) -> float:
        """The latency that this share of the answers did not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def drive(
    port: int, make: Callable[[int], tuple[str, bytes, Judge]], *, rate: float, seconds: float, connections: int = 16
) -> Outcome:
    """Send `rate` requests a second over kept connections; `make` says path and body of the n-th, and who judges its answer."""
    return asyncio.run(_drive(port, make, rate, seconds, connections))


async def _drive(
    port: int, make: Callable[[int], tuple[str, bytes, Judge]], rate: float, seconds: float, connections: int
) -> Outcome:
    outcome = Outcome()
    began = time.monotonic() + 0.05

    async def one(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for number in range(first, int(rate * seconds), connections):
                due = began + number / rate
                await asyncio.sleep(due - time.monotonic())
                path, body, judge = make(number)
                writer.write(request("POST", path, body))
                async with asyncio.timeout(LIMIT_S):
                    status, answer, in_server_s = await _answer(reader)
                outcome.latencies_s.append(time.monotonic() - due)
                outcome.in_server_s.setdefault(status, []).append(in_server_s)
                outcome.statuses[status] += 1
                if (wrong := judge(status, answer)) is not None:
                    outcome.wrong.append(wrong)
        except (OSError, EOFError, TimeoutError) as error:
            outcome.wrong.append(f"{type(error).__name__} {error}")
        finally:
            writer.close()

    await asyncio.gather(*(one(first) for first in range(connections)))
    return outcome


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Any, float]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
    in_server_s = float(head.partition(b"total;dur=")[2].partition(b"\r")[0].partition(b",")[0]) / 1e3
    return int(head[9:12]), json.loads(await reader.readexactly(length)), in_server_s
