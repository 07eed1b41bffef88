"""A busy worker sends heartbeats, even if its event loop finds no time for timers."""

from __future__ import annotations

import asyncio
from functools import partial

from mlrf.serving.auth.guard import Guard
from mlrf.serving.auth.keys import KeyRing, make_key, write_keys
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http.router import Route, Router
from mlrf.serving.http.server import HttpServer
from mlrf.serving.http.tls_connection import new_connection
from mlrf.serving.request_limits import RequestLimits
from mlrf.serving.telemetry.logs import Log

LIMIT_S = 60.0

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
            Router(routes, 1024),
            RequestLimits(),
            NothingCounted(),
            ErrorEncoder(Log()),
            lambda: beats.append(loop.time()),
        )
        listening = await loop.create_server(partial(new_connection, server), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        until = loop.time() + LIMIT_S
        while len(beats) < 3 and loop.time() < until:  # server.tick() is not called
            writer.write(REQUEST)
            answered = await asyncio.wait_for(reader.readuntil(b"{}"), LIMIT_S)
            assert answered.startswith(b"HTTP/1.1 200")
        writer.close()
        listening.close()

    asyncio.run(answer_for_a_while())
    assert len(beats) == 3


def test_revoked_key_is_refused_on_a_busy_loop(tmp_path):
    key, line = make_key("client", ["predict"])
    keys = tmp_path / "keys"
    write_keys(keys, {line.id: line})
    routes = {"/models": Route(1, "/models", {b"GET": lambda _body: b"{}"})}
    request = b"GET /models HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer %b\r\n\r\n" % key.encode()

    async def ask_until_refused():
        loop = asyncio.get_running_loop()
        server = HttpServer(Router(routes, 1024), RequestLimits(), NothingCounted(), ErrorEncoder(Log()), lambda: None)
        server.guard = Guard(KeyRing(keys), {1: "any"}, Log("critical"))
        listening = await loop.create_server(partial(new_connection, server), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(request)
        assert (await reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200")
        write_keys(keys, {})
        until = loop.time() + LIMIT_S
        answer = b"HTTP/1.1 200"
        while answer.startswith(b"HTTP/1.1 200") and loop.time() < until:  # server.tick() is not called
            writer.write(request)
            answer = await asyncio.wait_for(reader.readuntil(b"}"), LIMIT_S)
        writer.close()
        listening.close()
        return answer

    assert asyncio.run(ask_until_refused()).startswith(b"HTTP/1.1 401")
