"""What the demo refuses: an answer other than 200 of its server, and a start without its packages."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mlrf.core.errors import ConfigError, MlrfError
from mlrf.demo import demo_command
from mlrf.demo.server_process import Server
from running import eventually

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REFUSAL = b'HTTP/1.1 422 No\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{"error":"x"}'


def test_an_answer_other_than_200_is_an_error():
    port: list[int] = []
    ended = threading.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(READY if head.startswith(b"GET /readyz ") else REFUSAL)
        await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
            port.append(listener.sockets[0].getsockname()[1])
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        with (
            Server(["sleep", "60"], eventually(lambda: port)[0]) as server,
            pytest.raises(MlrfError, match=r'GET /models was answered with status 422: \{"error":"x"\}'),
        ):
            server.request("GET", "/models")
    finally:
        ended.set()
        thread.join()


def test_a_missing_package_is_named_before_the_work(monkeypatch):
    monkeypatch.setattr(demo_command, "_EXTRA", ("pandas", "no_such_package"))
    with pytest.raises(ConfigError, match=r"the demo needs no_such_package: pip install 'mlrf\[demo\]'"):
        demo_command.run(once=True, port=1, workers=1, out=None, rate=1, seconds=1)
