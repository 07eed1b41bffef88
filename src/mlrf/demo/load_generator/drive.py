"""Drives a load against a server for a given time, and reports the results."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import cast

import uvloop

from mlrf.core.errors import ConfigError
from mlrf.demo.load_generator.generator import Judge, LoadGenerator, MakeConnection, OnSecond, standard_judge
from mlrf.demo.load_generator.http_connection import HttpConnection
from mlrf.demo.load_generator.load_plan import LoadPlan
from mlrf.demo.load_generator.load_report import LoadReport

MAX_REQUESTS = 2_000_000
MAX_DURATION_S = 3_600.0
MAX_CONNECTIONS = 10_000

_INTERRUPT_GRAIN_S = 0.2


async def drive(
    host: str,
    port: int,
    path: str,
    bodies: Sequence[bytes],
    *,
    rate: float,
    duration_s: float,
    connections: int,
    drain_s: float = 5.0,
    on_second: OnSecond | None = None,
    judge: Judge | None = None,
) -> LoadReport:
    """Return the report of a load: `bodies` sent in turn to `path`, `rate` a second for `duration_s`.

    It waits at most `drain_s` for the last answers.

    `on_second` is called about once a second with the total numbers of requests settled and due. `judge` decides
    what is an error: by default each status but 200, and a body that is not JSON. Raises ConfigError
    when an option is out of bounds, or when the connections cannot be opened before the clock starts.
    """
    due = _planned(rate, duration_s, connections, bodies, path)
    requests = _requests(host, port, path, bodies)
    plan = LoadPlan(host, port, requests, connections, rate, due)
    return await run_plan(plan, duration_s, drain_s=drain_s, on_second=on_second, judge=judge or standard_judge)


async def run_plan(
    plan: LoadPlan,
    duration_s: float,
    *,
    judge: Judge,
    drain_s: float = 5.0,
    on_second: OnSecond | None = None,
    make_connection: MakeConnection = HttpConnection,
) -> LoadReport:
    """Return the report of a plan's load, open or closed, that is run for `duration_s`."""
    load = LoadGenerator(plan, judge, make_connection)
    collecting = gc.isenabled()
    # A full garbage collection in a training process takes tens of milliseconds, which would be attributed to
    # the server. The driver's allocations are bounded by the number of requests.
    gc.disable()
    try:
        await load.open()
        return await load.run(duration_s, drain_s, on_second)
    finally:
        load.close()
        if collecting:
            gc.enable()


def drive_and_wait(
    host: str,
    port: int,
    path: str,
    bodies: Sequence[bytes],
    *,
    rate: float,
    duration_s: float,
    connections: int,
    drain_s: float = 5.0,
    on_second: OnSecond | None = None,
) -> LoadReport:
    """`drive`, for callers without an event loop; `on_second` is called from another thread.

    The loop runs in a separate thread, so that Ctrl-C, or a raising signal handler of the caller, interrupts the
    waiting: in the loop's own thread it would be raised inside whatever callback runs, and be logged and lost there.
    """
    begun = threading.Event()
    cancel: Callable[[], object] = bool

    async def cancellable() -> LoadReport:
        nonlocal cancel
        loop, task = asyncio.get_running_loop(), cast("asyncio.Task[LoadReport]", asyncio.current_task())
        cancel = functools.partial(loop.call_soon_threadsafe, task.cancel)
        begun.set()
        return await drive(
            host,
            port,
            path,
            bodies,
            rate=rate,
            duration_s=duration_s,
            connections=connections,
            drain_s=drain_s,
            on_second=on_second,
        )

    with ThreadPoolExecutor(1, "load") as thread:
        driving = thread.submit(lambda: uvloop.run(cancellable()))
        try:
            while not driving.done():
                # Short waits, because a signal that another thread received does not end a long one.
                wait([driving], _INTERRUPT_GRAIN_S)
            return driving.result()
        except BaseException:
            if not driving.done():
                begun.wait()
                with contextlib.suppress(RuntimeError):  # it ended meanwhile, and its loop is closed
                    cancel()
            raise


def _requests(host: str, port: int, path: str, bodies: Sequence[bytes]) -> list[bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    return [b"%s%d\r\n\r\n%s" % (head.encode("ascii"), len(body), body) for body in bodies]


def _planned(rate: float, duration_s: float, connections: int, bodies: Sequence[bytes], path: str) -> int:
    if not 0 < rate < math.inf:
        raise ConfigError(f"rate must be a number of requests a second above 0, not {rate}")
    if not 0 < duration_s <= MAX_DURATION_S:
        raise ConfigError(f"duration_s must be above 0 and at most {MAX_DURATION_S:.0f}, not {duration_s}")
    if not 1 <= connections <= MAX_CONNECTIONS:
        raise ConfigError(f"connections must be from 1 to {MAX_CONNECTIONS}, not {connections}")
    if not bodies:
        raise ConfigError("bodies is empty; give at least one request body")
    if not path.startswith("/") or not path.isascii() or any(character.isspace() for character in path):
        raise ConfigError(f"path must start with / and contain only ASCII without spaces, not {path!r}")
    due = max(1, round(rate * duration_s))
    if due > MAX_REQUESTS:
        raise ConfigError(f"{due} requests exceed the limit of one load ({MAX_REQUESTS}): lower rate or duration_s")
    return due
