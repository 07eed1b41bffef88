"""Row 23: the hostile corpus, sent directly, and through nginx where there is one."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import behind_nginx
from bundles import ALL_KINDS, write_bundle
from hostile_corpus import HIDDEN, Hostile, read_corpus
from raw_http import Client
from running import Server, eventually, serving
from scoreboard import Bar, Finding, Row

_BODY = {"features": ALL_KINDS.example()}
_LAX = """
from mlrf.serving.http import head
head._ONCE = ()
"""


def _is_refused(server: Server, hostile: Hostile) -> bool:
    """Whether it is refused once, as it should be, and no bytes after it are read as a request."""
    with contextlib.suppress(OSError, EOFError), server.client() as client:
        client.socket.settimeout(2)
        client.send(hostile.content + HIDDEN)
        answer = client.answer()
        return answer.status == hostile.status and answer.headers.get("connection") == "close" and client.is_closed()
    return False


def _n_seen(server: Server) -> float:
    """Return the number of requests that the server answered, without those for metrics."""
    # Not `server.metrics()`: this runs some hundred times, and the other families would take most of its time.
    return sum(
        float(line.rpartition(b" ")[2])
        for line in server.ask("GET", "/metrics").body.splitlines()
        if line.startswith(b"mlrf_requests_total{")
        and b'route="/metrics"' not in line
        and b'route="/readyz"' not in line
    )


def smuggled(server: Server, folder: Path, corpus: list[Hostile]) -> list[str]:
    """Send each through nginx; return the names of those for which the server counted another number of requests than nginx."""
    found: list[str] = []
    last = HIDDEN.replace(b"Host: hidden", b"Host: hidden\r\nConnection: close")
    with behind_nginx.nginx(folder, server.port) as front:
        # More than it counted before, without those found already.
        ahead = [_n_seen(server)]

        def agrees() -> bool:
            return _n_seen(server) - ahead[-1] == front.n_sent_on()

        for number, hostile in enumerate(corpus):
            with contextlib.suppress(OSError, EOFError), Client(front.port) as client:
                client.socket.settimeout(5)
                client.send(hostile.content + last)
                client.rest()
            # The next request on the connections from nginx to the server gets its own answer.
            with Client(front.port) as canary:
                answer = canary.ask("POST", "/predict", _BODY, [f"X-Request-ID: canary-{number}"])
            is_own = (answer.status, answer.headers["x-request-id"]) == (200, f"canary-{number}")
            try:
                eventually(agrees, 3)
            except TimeoutError:
                is_own = False
            if not is_own:
                found.append(hostile.name)
                ahead.append(_n_seen(server) - front.n_sent_on())
        assert front.n_sent_on() > len(corpus), "nginx sends requests on"
    return found


def measure(planted: bool) -> Finding:
    """Send each; with the fault, the server accepts repeated headers that must occur once."""
    corpus = read_corpus()
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        with serving(path, broken_by=_LAX if planted else "") as server:
            taken = [hostile.name for hostile in corpus if not _is_refused(server, hostile)]
            bars = [Bar("not refused", len(taken), 0), Bar("of", len(corpus), 60, at_least=True)]
            if behind_nginx.is_installed() and not planted:
                (Path(folder) / "nginx").mkdir()
                bars.append(Bar("smuggled through nginx", len(smuggled(server, Path(folder) / "nginx", corpus)), 0))
            bars.append(Bar("unexpected log events", len(server.troubles), 0))
    return Finding.of(*bars)


ROW = Row(
    23,
    "hostile HTTP corpus, directly and through nginx",
    "400 and close; never two requests out of one",
    "a header that must occur once is accepted twice",
    measure,
)
