"""The hostile corpus through nginx (row 23): whatever nginx sends on, the server sees as many requests as nginx means.

On another machine than CI's nginx may be missing (apt-get install nginx-light); then this is skipped.
"""

from __future__ import annotations

import contextlib
import os

import pytest

import behind_nginx
from bundles import ALL_KINDS
from hostile_corpus import HIDDEN, read_corpus
from raw_http import Client
from running import eventually, serving

BODY = {"features": ALL_KINDS.example()}

pytestmark = pytest.mark.skipif(
    not behind_nginx.is_installed() and not os.environ.get("CI"), reason="nginx is not installed"
)


def n_seen(server):
    """Requests that the server answered, but for those that ask it for metrics."""
    return sum(
        count
        for name, count in server.metrics().items()
        if name.startswith("mlrf_requests_total") and "route=/metrics" not in name and "route=/readyz" not in name
    )


def test_never_two_requests_out_of_one(bundle, tmp_path):
    (tmp_path / "nginx").mkdir()
    last = HIDDEN.replace(b"Host: hidden", b"Host: hidden\r\nConnection: close")
    with serving(bundle) as server, behind_nginx.nginx(tmp_path / "nginx", server.port) as front:
        before = n_seen(server)
        for number, hostile in enumerate(read_corpus()):
            with contextlib.suppress(OSError, EOFError), Client(front.port) as client:
                client.socket.settimeout(5)
                client.send(hostile.content + last)
                client.rest()
            # Whoever comes next on the connections that nginx keeps to the server gets the answer to its own request.
            with Client(front.port) as canary:
                answer = canary.ask("POST", "/predict", BODY, [f"X-Request-ID: canary-{number}"])
                assert (answer.status, answer.headers["x-request-id"]) == (200, f"canary-{number}"), hostile.name
            found = f"{hostile.name}: {n_seen(server) - before} seen, {front.n_sent_on()} sent on"
            assert eventually(lambda: n_seen(server) - before == front.n_sent_on(), 3, found)
        assert front.n_sent_on() > len(read_corpus())
        assert server.troubles == []
