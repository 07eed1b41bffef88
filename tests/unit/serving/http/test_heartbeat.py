"""A worker that answers gives signs of life, even while its loop finds no time for timers."""

from __future__ import annotations

import asyncio
from functools import partial

from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http.connection import new_connection
from mlrf.serving.http.router import Route, Router
from mlrf.serving.http.server import BEAT_S, HttpServer
from mlrf.serving.http.settings import HttpLimits
from mlrf.serving.telemetry.logs import Log

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"


class NothingCounted:
    def count_request(self, route, status, elapsed_s):
        pass

    def count_connections(self, change):
        pass

    def count_cut(self, reason):
        pass


def test_answers_alone_keep_a_worker_alive():
    beats = []
    routes = {"/healthz": Route(1, "/healthz", {b"GET": lambda _body: b"{}"})}

    async def answer_for_a_while():
        loop = asyncio.get_running_loop()
        server = HttpServer(
            Router(routes, 1024), HttpLimits(), NothingCounted(), ErrorEncoder(Log()), lambda: beats.append(loop.time())
        )
        listening = await loop.create_server(partial(new_connection, server), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        until = loop.time() + 2.5 * BEAT_S
        while loop.time() < until:  # nobody calls server.tick()
            writer.write(REQUEST)
            answered = await asyncio.wait_for(reader.readuntil(b"{}"), 5)
            assert answered.startswith(b"HTTP/1.1 200")
        writer.close()
        listening.close()

    asyncio.run(answer_for_a_while())
    assert len(beats) >= 2
    assert all(later - earlier < 2 * BEAT_S for earlier, later in zip(beats, beats[1:], strict=False))
