"""An HTTP/2 server in this process, whose streams echo what they receive."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator

from mlrf.serving.http.unsent import UnsentResponses
from mlrf.serving.http2.connection import Http2Connection
from mlrf.serving.http2.header_blocks import encode_fields
from mlrf.serving.http2.limits import Http2Limits
from mlrf.serving.http2.request_stream import Stream
from mlrf.serving.http2.server import Http2Server
from mlrf.serving.runtime.request_runtime import RequestRuntime

HEAD = encode_fields(((b":status", b"200"),))
TRAILERS = encode_fields(((b"echo", b"done"),))


class Meter:
    """Counts."""

    def __init__(self) -> None:
        self.cuts: Counter[str] = Counter()
        self.n_open = 0

    def count_request(self, route: int, status: int, elapsed_s: float) -> None:
        """Not needed."""

    def count_connections(self, change: int) -> None:
        """Count open connections."""
        self.n_open += change

    def count_cut(self, reason: str) -> None:
        """Count a connection that was closed."""
        self.cuts[reason] += 1


class Echo(Stream):
    """Answers with the path and the content, when the client has ended its part."""

    __slots__ = ("content", "path", "was_dropped")

    def __init__(self, connection, number, fields) -> None:
        super().__init__(connection, number)
        self.path = dict(fields)[b":path"]
        self.content = bytearray()
        self.was_dropped = False

    def opened(self) -> None:
        """Wait for content."""

    def received(self, content: bytes) -> None:
        """Collect."""
        self.content += content
        if self.receive_window < 1 << 15:
            self.connection.grant(self, 1 << 16)

    def ended(self) -> None:
        """Answer."""
        self.connection.answer(self, HEAD, self.path + bytes(self.content), TRAILERS)

    def unread(self, limit_s: float) -> None:
        """End."""
        self.connection.drop_unsent(self)
        self.connection.finish(self, TRAILERS)

    def dropped(self) -> None:
        """Note it."""
        self.was_dropped = True

    def check(self, now_s: float) -> None:
        """No limits of its own."""


class Running:
    """The server in its thread."""

    def __init__(self, limits: Http2Limits, stream: type[Echo], check_s: float) -> None:
        self._stream = stream
        self._check_s = check_s
        self.meter = Meter()
        self.loop = asyncio.new_event_loop()
        self.faults: list[object] = []
        self.streams: list[Echo] = []
        self.loop.set_exception_handler(lambda _loop, context: self.faults.append(context))
        self.runtime = RequestRuntime(self.meter, lambda: None, 0.5)
        self.server = Http2Server(self.runtime, limits, self.meter, UnsentResponses(), list, self._open)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._listens = threading.Event()

    def _open(self, connection, number, fields) -> Echo:
        self.streams.append(self._stream(connection, number, fields))
        return self.streams[-1]

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        made = self.loop.create_server(lambda: Http2Connection(self.server), sock=self._listener)
        listening = self.loop.run_until_complete(made)
        self._check()
        self._listens.set()
        self.loop.run_forever()
        listening.close()
        self.loop.run_until_complete(self.server.drain(0.1))
        # The loop closes the sockets of aborted connections in its next iteration.
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.runtime.work.stop()
        self.loop.close()

    def _check(self) -> None:
        self.server.check()
        self.loop.call_later(self._check_s, self._check)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        assert self._listens.wait(300)

    def stop(self) -> None:
        """End it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self._listener.close()


@contextlib.contextmanager
def http2_server(stream: type[Echo] = Echo, check_s: float = 0.05, **limits: float) -> Iterator[Running]:
    """Run a server; afterwards nothing may have been raised on its event loop."""
    timeouts = ("header_timeout_s", "request_timeout_s", "idle_timeout_s", "write_timeout_s")
    known = {"max_connections": 100, **dict.fromkeys(timeouts, 300.0)}
    running = Running(Http2Limits(**{**known, **limits}), stream, check_s)
    running.start()
    try:
        yield running
    finally:
        running.stop()
    assert running.faults == [], running.faults
    assert all(stream.was_dropped for stream in running.streams if stream.is_over)
