"""Clients that ask for long answers and read none of them: a worker's memory is bounded, and others are answered."""

from __future__ import annotations

import re
import select
from contextlib import ExitStack
from pathlib import Path

import pytest

from bundles import write_tree_bundle
from certificates import TlsClient, make_certificate, trusting
from mlrf.core.feature import Feature
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from raw_http import Client, request
from running import eventually, serving

MIB = 1 << 20
CURVE = request("POST", "/curve", {"features": [0.5, 0.5], "vary": ["x0", "x1"]})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    schema = Schema((Feature("x0"), Feature("x1")))
    more = {"task": "multiclass", "link": LinkEntry("softmax"), "classes": ["low", "mid", "high"], "n_outputs": 3}
    return write_tree_bundle(tmp_path_factory.mktemp("unread") / "b", schema=schema, n_trees=480, **more)


def is_reset(client):
    """Whether the connection has ended although much of the answer has not been read."""
    found = select.poll()
    found.register(client.socket, 0)
    return any(event & select.POLLERR for _, event in found.poll(0))


@pytest.mark.parametrize("is_tls", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "TLS"])
def test_longest_unread_answers_are_cut_beyond_a_bound(path, tmp_path, is_tls):
    options = ["--write-timeout", "600", "--max-wait", "60"]
    if is_tls:
        cert, key = make_certificate(tmp_path, "first")
        options += ["--tls-cert", str(cert), "--tls-key", str(key)]
        context = trusting(tmp_path, "first")

    def connect(server):
        options = {"receive_bytes": 16_384}
        return TlsClient(server.port, context, **options) if is_tls else Client(server.port, **options)

    def is_ready(server):
        with connect(server) as client:
            return client.ask("GET", "/readyz").status == 200

    def n_cut(server):
        with connect(server) as client:
            return b'mlrf_connections_cut_total{reason="slow_reader"} 0' not in client.ask("GET", "/metrics").body

    with serving(path, options=options, is_ready=is_ready) as server, ExitStack() as clients:
        with connect(server) as client:
            client.send(CURVE)
            assert len(client.answer().body) > 8 * MIB, "more than the kernel holds"
        readers = [clients.enter_context(connect(server)) for _ in range(40)]
        for reader in readers:
            reader.send(CURVE)
        eventually(lambda: n_cut(server), what="a client that was cut")
        eventually(lambda: any(map(is_reset, readers)), what="a reset: the kernel does not send the rest")
        with connect(server) as client:
            client.send(CURVE)
            assert client.answer().status == 200


def test_many_clients_that_wait_for_one_long_answer_are_answered_in_turns(path):
    """Their answers were written in one turn of the loop, and those of cut connections freed only after it."""
    options = ["--write-timeout", "600", "--max-wait", "60", "--workers", "1"]
    with serving(path, options=options) as server, ExitStack() as clients:
        (worker,) = server.workers()
        readers = [clients.enter_context(Client(server.port, receive_bytes=16_384)) for _ in range(120)]
        for reader in readers:
            reader.send(CURVE)
        eventually(lambda: sum(map(is_reset, readers)) > 60, what="most clients cut")
        peak_kib = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())[1])
        assert peak_kib < 500 << 10, "unread answers of 9 MB each"


def test_write_timeout_ends_an_unread_long_answer_over_tls(path, tmp_path):
    """Encrypted, it lies behind the transport that the server looks at."""
    cert, key = make_certificate(tmp_path, "first")
    context = trusting(tmp_path, "first")
    options = ["--write-timeout", "1", "--tls-cert", str(cert), "--tls-key", str(key)]

    def metrics(server):
        with TlsClient(server.port, context) as client:
            return client.ask("GET", "/metrics").body

    with (
        serving(path, options=options, is_ready=metrics) as server,
        TlsClient(server.port, context, receive_bytes=16_384) as client,
    ):
        client.send(CURVE)
        line = b'mlrf_connections_cut_total{reason="slow_reader"} 1'
        eventually(lambda: line in metrics(server), what="the end of the connection")
