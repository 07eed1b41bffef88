"""Loads other than an open loop over kept connections: closed loops, a connection for each request, pipelines, and gRPC."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections.abc import Callable

import grpc
import pytest
import uvloop

from mlrf.core.errors import ConfigError
from mlrf.demo.load_generator import background_load
from mlrf.demo.load_generator.background_load import BackgroundLoad
from mlrf.demo.load_generator.drive import run_plan
from mlrf.demo.load_generator.generator import standard_judge
from mlrf.demo.load_generator.grpc_connection import grpc_connections
from mlrf.demo.load_generator.http_connection import Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from mlrf.demo.load_generator.load_report import LoadReport
from mlrf.demo.load_generator.pipelined import drive_pipelined
from raw_http import request
from running import eventually
from test_drive import GOOD, Server

ONE = request("GET", "/")
LAST = request("GET", "/", headers=["Connection: close"])
CLOSING = GOOD.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


def run(server: Server, duration_s: float = 0.3, drain_s: float = 60.0, **plan: object) -> LoadReport:
    options = {"requests": [ONE], "connections": 4, **plan}
    return server.meet(
        lambda port: run_plan(LoadPlan("127.0.0.1", port, **options), duration_s, judge=standard_judge, drain_s=drain_s)
    )


def test_closed_loop_has_one_request_a_connection():
    report = run(Server(lambda _: GOOD), duration_s=0.2)
    assert report.due == report.ok >= 4
    assert (report.statuses, report.errors) == ({200: report.ok}, {})
    assert math.isnan(report.requested_rate)
    silent = Server(lambda _: b"")
    assert run(silent, duration_s=0.1, drain_s=0.3).errors == {"unanswered": 4}
    assert len(silent.bodies) == 4


def test_closed_loop_pauses_after_answers_and_refusals():
    # Over one connection at most 3 requests fit between pauses of a tenth of a second, whatever the machine does.
    assert 0 < run(Server(lambda _: GOOD), connections=1, pause_s=0.1).ok <= 4
    refused = run(Server(lambda _: BUSY), connections=1, refused_pause_s=0.1)
    assert 0 < refused.statuses[503] <= 4
    eventually(lambda: run(Server(lambda _: GOOD), connections=1, refused_pause_s=0.1).ok > 4, what="no pause")


def test_each_request_may_have_a_connection_of_its_own():
    server = Server(lambda _: CLOSING)
    report = run(server, requests=[LAST], connections=0, rate=200.0, due=50, duration_s=0.25)
    assert (report.ok, report.errors, report.reconnects, server.connections) == (50, {}, 0, 50)
    keeping = Server(lambda _: GOOD)
    assert run(keeping, requests=[LAST], connections=0, rate=200.0, due=20, duration_s=0.1).ok == 20
    assert keeping.connections == 20, "not even a connection that the server keeps is used again"


def test_requests_without_an_own_connection_are_errors():
    async def nowhere() -> LoadReport:
        plan = LoadPlan("127.0.0.1", 9, [LAST], 0, 100.0, 10)
        return await run_plan(plan, 0.1, judge=standard_judge, drain_s=60.0)

    report = uvloop.run(nowhere())
    assert (report.ok, report.errors) == (0, {"connection refused": 10})


def with_server(server: Server, client: Callable[[int], object]) -> None:
    """Run a client in this thread while the server answers in another."""
    port: list[int] = []
    ended = threading.Event()

    async def serve(number: int) -> None:
        port.append(number)
        await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=server.meet, args=[serve])
    thread.start()
    try:
        client(eventually(lambda: port)[0])
    finally:
        ended.set()
        thread.join()


def test_background_load_runs_until_it_is_ended():
    def client(port: int) -> None:
        with BackgroundLoad(LoadPlan("127.0.0.1", port, [ONE], 2)) as load:
            eventually(lambda: load.statuses[200] > 50)
            report = load.end()
            assert report.ok == report.due == load.statuses[200]
            assert load.end() is report
        assert load.errors == {}

    with_server(Server(lambda _: GOOD), client)


def test_background_load_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr(background_load, "_ANSWER_LIMIT_S", 0.05)
    begun, go = threading.Event(), threading.Event()

    def judge(*_: object) -> None:
        begun.set()
        go.wait()

    def client(port: int) -> None:
        with BackgroundLoad(LoadPlan("127.0.0.1", port, [ONE], 1), judge) as load:
            begun.wait()
            try:
                with pytest.raises(TimeoutError, match=r"the load did not end 0\.1 s after"):
                    load.end()
            finally:
                go.set()
                load._thread.join()

    with_server(Server(lambda _: GOOD), client)


def test_background_load_raises_when_nothing_accepts():
    with (
        pytest.raises(ConfigError, match="does not accept 2 connections"),
        BackgroundLoad(LoadPlan("127.0.0.1", 9, [ONE], 2)),
    ):
        pass


def test_pipelined_load_counts_every_answer():
    numbers = itertools.count()
    answers = [GOOD, BUSY, BUSY.replace(b"Busy\r\n", b"Busy\r\nRetry-After: 1\r\n")]
    server = Server(lambda _: answers[next(numbers) % 3])
    report = server.meet(
        lambda port: drive_pipelined("127.0.0.1", port, ONE, rate=3_000, duration_s=0.3, connections=2)
    )
    assert report.sent == report.statuses.total() > 100
    assert (report.lost, report.unsent) == (0, 0)
    assert report.statuses[503] == pytest.approx(2 * report.statuses[200], abs=2)
    assert report.without_retry_after == pytest.approx(report.statuses[200], abs=1)


def test_pipelined_load_limits_the_requests_in_flight():
    silent = Server(lambda number: None if number >= 255 else b"")
    report = silent.meet(
        lambda port: drive_pipelined("127.0.0.1", port, ONE, rate=50_000, duration_s=0.1, connections=1)
    )
    assert report.sent == report.lost == 256
    assert report.unsent > 1_000


@pytest.mark.parametrize("size", [3, 40_000], ids=["small", "larger-than-a-frame"])
def test_grpc_calls_are_answered_and_refused(size):
    received: list[bytes] = []

    async def answer(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        received.append(message)
        if len(received) % 5 == 0:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
        return message[::-1]

    async def load() -> LoadReport:
        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(answer)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", {"Call": method})])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        messages = [b"%d" % number * size for number in range(3)]
        plan = LoadPlan("127.0.0.1", port, messages, 2)
        try:
            connections = grpc_connections("/test.Service/Call", 4)
            return await run_plan(plan, 0.5, judge=judge, drain_s=60, make_connection=connections)
        finally:
            await server.stop(None)

    def judge(_number: int, _elapsed_s: float, response: Response) -> str | None:
        return f"status {response.status}" if response.status else None

    report = asyncio.run(load())
    assert report.errors.keys() == {"status 8"}
    assert report.statuses.keys() == {0, 8}
    assert report.due == len(received) == report.ok + report.error_count >= 8
    assert set(received) == {b"0" * size, b"1" * size, b"2" * size}
