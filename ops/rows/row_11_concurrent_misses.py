"""Row 11: a thousand clients send the same slow, uncached request at once."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from bundles import write_tree_bundle
from rows.row_05_overload import SCHEMA, batch
from running import serving
from scoreboard import Bar, Finding, Row

_WORKERS, _INSTANCES = 2, 200
_EACH_FOR_ITSELF = """
from mlrf.serving.runtime.executor import Executor
start = Executor.start
def alone(self, *given):
    self._in_flight.clear()
    return start(self, *given)
Executor.start = alone
from mlrf.serving.cache.cache_partition import CachePartition
CachePartition._compute = lambda *given: None
"""


async def _send_together(port: int, content: bytes, n: int) -> Counter[int]:
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(n)]
    for _, writer in streams:
        writer.write(content)
    statuses: Counter[int] = Counter()
    for reader, writer in streams:
        async with asyncio.timeout(60):
            statuses[int((await reader.readline())[9:12])] += 1
        writer.close()
    return statuses


def _found(n: int, broken_by: str = "") -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        path = write_tree_bundle(Path(folder) / "b", schema=SCHEMA, n_trees=400, max_leaves=64)
        options = ["--max-batch", str(_INSTANCES)]
        with serving(path, workers=_WORKERS, options=options, broken_by=broken_by) as server:
            server.booted(_WORKERS)
            statuses = asyncio.run(_send_together(server.port, batch(_INSTANCES), n))
            made = server.metrics()["mlrf_explanations_total"] / _INSTANCES
    return Finding.of(
        Bar("computations", made, _WORKERS),
        Bar("of requests", n, 1, at_least=True),
        Bar("not answered", n - statuses[200], 0),
    )


def measure(planted: bool) -> Finding:
    """Send the requests; with the fault, each request is computed separately."""
    return _found(1_000, _EACH_FOR_ITSELF if planted else "")


def brief(planted: bool) -> Finding:
    """Do the same with fewer clients."""
    return _found(100, _EACH_FOR_ITSELF if planted else "")


ROW = Row(
    11,
    "1,000 concurrent misses of one expensive body",
    "1 computation per worker",
    "each request is computed separately",
    measure,
    brief,
)
