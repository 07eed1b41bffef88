"""A reverse proxy before any HTTP server, whose faults a test switches on: the network of the drills of stores.

| fault | what a client of the proxy gets |
|---|---|
| stopped | no connection |
| slow | no answer while it lasts, then an end |
| trickling | a byte of the body each tenth of a second while it lasts, then an end |
| refused | 503 |
| corrupt | a right status, and a body in which one bit is another |
| half-written | half of the body, and an end |
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import time
from urllib.parse import urlsplit

FAULTS = ("stopped", "slow", "trickling", "refused", "corrupt", "half-written")
_OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_LONGEST_S = 60.0
_UPSTREAM_S = 60.0


class FaultyProxy:
    """Passes requests to the server at `upstream` (`http://HOST:PORT`), as `fault` says; empty is no fault."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.requests = 0
        self._fault = ""
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

            def answer(self):
                proxy.requests += 1
                with contextlib.suppress(OSError):
                    proxy._answer(self)

            def log_message(self, *_arguments):
                pass

        self._handler = Handler
        self._server: http.server.ThreadingHTTPServer | None = None
        self.port = 0
        self._listen()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def fault(self) -> str:
        """The fault that is on."""
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        assert fault in ("", *FAULTS)
        self._fault = fault
        if fault == "stopped":
            self.close()
        elif self._server is None:
            self._listen()

    def close(self) -> None:
        """Close the listener."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _listen(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        fault = self._fault
        if fault == "refused":
            request.send_error(503)
            return
        status, headers, body, length = self._ask(request)
        if fault == "slow":
            self._while(fault, lambda: time.sleep(0.02))
            return
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in _OF_A_CONNECTION:
                request.send_header(name, value)
        request.send_header("Content-Length", length)
        request.end_headers()
        if fault == "trickling":
            bytes_left = iter(body[:-1])
            self._while(fault, lambda: self._trickle(request, bytes_left))
        elif fault == "corrupt":
            request.wfile.write(_corrupt(body))
        elif fault == "half-written":
            request.wfile.write(body[: len(body) // 2])
        else:
            request.wfile.write(body)

    def _ask(self, request: http.server.BaseHTTPRequestHandler) -> tuple[int, list[tuple[str, str]], bytes, str]:
        content = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.upstream, timeout=_UPSTREAM_S)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        with contextlib.closing(connection):
            connection.request(request.command, request.path, content or None, headers)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, answer.getheaders(), body, answer.getheader("Content-Length") or str(len(body))

    def _while(self, fault: str, step) -> None:
        ends_s = time.monotonic() + _LONGEST_S
        while self._fault == fault and time.monotonic() < ends_s:
            step()

    @staticmethod
    def _trickle(request: http.server.BaseHTTPRequestHandler, bytes_left) -> None:
        each = next(bytes_left, None)
        if each is not None:
            request.wfile.write(bytes((each,)))
        time.sleep(0.1)


def _corrupt(body: bytes) -> bytes:
    """The body with one bit of the byte in its middle turned."""
    middle = len(body) // 2
    return body[:middle] + bytes(each ^ 1 for each in body[middle : middle + 1]) + body[middle + 1 :]
