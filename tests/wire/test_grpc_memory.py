"""gRPC clients that fill a worker's memory: headers without an end, and answers that they do not read."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest

from bundles import write_tree_bundle
from grpc_peer import INFERENCE, Peer, address_of
from raw_http2 import ACK, SETTINGS, WINDOW_UPDATE, RawHttp2, frame, message_head
from running import eventually, serving

MIB = 1 << 20
_INITIAL_WINDOW = 4
MODEL_NAME = b"\x0a\x05sales"
"""The message of `ModelMetadata` for a model, whose answer is long."""
_CUT = "mlrf_connections_cut_total;reason=%s"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("memory") / "sales", name="sales")


def footprint(pid):
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * 4096


def test_headers_without_an_end_are_bounded(path):
    with serving(path, options=["--grpc-port", "0"]) as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        peer = stack.enter_context(Peer(address_of(server)))
        assert isinstance(peer.ask("ServerLive"), bytes)
        before = footprint(worker)
        port = int(address_of(server).rpartition(":")[2])
        for _ in range(12):
            client = stack.enter_context(RawHttp2(port, acks_settings=False))
            with contextlib.suppress(ConnectionError):
                client.call(INFERENCE + "ServerLive", n_more=470_000, ends=False)
        eventually(lambda: server.metrics()[_CUT % "protocol_error"] == 12, what="connections that were cut")
        assert footprint(worker) - before < 16 * MIB
        assert isinstance(peer.ask("ServerLive"), bytes), "who keeps to the limits keeps the connection"
        assert server.workers() == [worker]
        assert server.troubles == []


def test_an_answer_that_is_not_read_ends_its_call(path):
    with (
        serving(path, options=["--grpc-port", "0", "--write-timeout", "0.5"]) as server,
        RawHttp2(int(address_of(server).rpartition(":")[2])) as client,
    ):
        client.socket.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, 0)))
        stream = client.call(INFERENCE + "ServerMetadata")
        client.send(stream, message_head(0), ends=True)
        assert client.ended(stream, 60.0)
        assert any(b"did not read its responses" in each.payload for each in client.frames if each.stream == stream)
        assert server.metrics()["mlrf_refusals_total;code=REQUEST_TIMEOUT"] == 1
        assert server.troubles == []


def test_a_client_that_reads_nothing_from_its_socket_is_cut(path):
    with (
        serving(path, options=["--grpc-port", "0", "--write-timeout", "0.5"]) as server,
        Peer(address_of(server)) as peer,
        RawHttp2(int(address_of(server).rpartition(":")[2]), receive_bytes=4096) as client,
    ):
        wide = frame(SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, (1 << 31) - 1))
        wider = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1 - 65535))
        client.socket.settimeout(120.0)
        client.socket.sendall(wide + wider + frame(SETTINGS, ACK, 0))
        with contextlib.suppress(ConnectionError):
            for _ in range(20_000):
                if server.metrics()[_CUT % "slow_reader"]:
                    break
                for _ in range(1000):
                    client.send(
                        client.call(INFERENCE + "ModelMetadata"), message_head(len(MODEL_NAME)) + MODEL_NAME, ends=True
                    )
        eventually(lambda: server.metrics()[_CUT % "slow_reader"] == 1, what="a connection that was cut")
        assert isinstance(peer.ask("ServerLive"), bytes)
        assert server.troubles == []
