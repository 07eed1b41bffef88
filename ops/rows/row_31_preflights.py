"""Row 31: CORS preflights with bodies of any length; preflights need no key."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundles import ALL_KINDS, write_bundle
from raw_http import request
from running import Server, serving
from scoreboard import Bar, Finding, Row

_BODY = {"features": ALL_KINDS.example()}
_ORIGIN = "https://app.example"
_HEAD = (
    "OPTIONS /predict HTTP/1.1\r\nHost: a\r\nOrigin: "
    + _ORIGIN
    + "\r\nAccess-Control-Request-Method: POST\r\n{}\r\n\r\n"
)
_HONEST = """
from mlrf.serving.http import server
server.HttpServer.call_of = lambda self, head, lines: (
    server.preflight_call(head, self.cors.preflight(head)) if self.cors.preflight(head) else self.router.call(head)
)
"""
"""A server that reads the body of a preflight like any other."""


@dataclass(frozen=True)
class Scale:
    """The number of preflights, and how many bytes each holds back."""

    clients: int
    size_bytes: int


_FULL = Scale(16, 8 << 20)
_BRIEF = Scale(17, 8 << 20)


def _is_refused(server: Server, declared: str) -> bool:
    """Whether a preflight that declares a body is refused when its head is read."""
    with contextlib.suppress(OSError, EOFError), server.client() as client:
        client.socket.settimeout(1)
        client.send(_HEAD.format(declared).encode())
        return client.answer().status in (400, 413)
    return False


def _others_answered(server: Server, scale: Scale) -> int:
    """Return how many requests with a body in two pieces are answered while preflights withhold the last byte of their own bodies."""
    with contextlib.ExitStack() as opened:
        for _ in range(scale.clients):
            client = opened.enter_context(server.client())
            with contextlib.suppress(OSError):
                client.send(_HEAD.format(f"Content-Length: {scale.size_bytes}").encode() + bytes(scale.size_bytes - 1))
        answered = 0
        for _ in range(10):
            with contextlib.suppress(OSError, EOFError), server.client() as client:
                content = request("POST", "/predict", _BODY)
                client.send(content[:-5])
                time.sleep(0.02)
                client.send(content[-5:])
                answered += client.answer().status == 200
    return answered


def _found(scale: Scale, broken_by: str = "") -> Finding:
    declared: Sequence[str] = (
        "Content-Length: 1",
        "Content-Length: 104857600",
        "Transfer-Encoding: chunked",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        with serving(path, options=["--cors-origin", _ORIGIN], broken_by=broken_by) as server:
            refused = sum(_is_refused(server, each) for each in declared)
            without = _is_refused(server, "Content-Length: 0")
            answered = _others_answered(server, scale)
    return Finding.of(
        Bar("refused by head alone", refused, len(declared), at_least=True),
        Bar("refused without a body", without, 0),
        Bar("others answered of 10", answered, 10, at_least=True),
    )


def measure(planted: bool) -> Finding:
    """Send preflights with bodies; with the fault, they are read."""
    return _found(_FULL, _HONEST if planted else "")


def brief(planted: bool) -> Finding:
    """Do the same; it is brief."""
    return _found(_BRIEF, _HONEST if planted else "")


ROW = Row(
    31,
    "CORS preflights with bodies of any length",
    "refused by head alone; others' bodies are read",
    "their bodies are read",
    measure,
    brief,
)
