"""gRPC clients that fill a worker's memory: metadata before they acknowledge any limit, and answers that they do not read."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest

from bundles import write_tree_bundle
from grpc_peer import INFERENCE, Peer, address_of
from raw_http2 import SETTINGS, RawHttp2, frame, message_head
from running import eventually, serving

MIB = 1 << 20
_INITIAL_WINDOW = 4
_CUT = "mlrf_connections_cut_total;reason=%s"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("memory") / "sales", name="sales")


def footprint(pid):
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * 4096


def test_metadata_of_unacknowledging_clients_are_bounded(path):
    # Within this time the core would end none of them.
    options = ["--grpc-port", "0", "--header-timeout", "120"]
    with serving(path, options=options) as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        peer = stack.enter_context(Peer(address_of(server)))
        assert isinstance(peer.ask("ServerLive"), bytes)
        before = footprint(worker)
        port = int(address_of(server).rpartition(":")[2])
        # Sixteen megabytes of metadata each, as the core counts them, of which the last never comes.
        for _ in range(12):
            client = stack.enter_context(RawHttp2(port, acks_settings=False))
            with contextlib.suppress(ConnectionError):
                client.call(INFERENCE + "ServerLive", n_more=470_000, ends=False)
        eventually(lambda: server.metrics()[_CUT % "unacknowledged"], what="a connection that was cut")
        eventually(lambda: footprint(worker) - before < 100 * MIB, what="the memory returned")
        assert isinstance(peer.ask("ServerLive"), bytes), "who acknowledges keeps the connection"
        assert server.workers() == [worker]
        assert server.troubles == []


def test_connection_that_reads_no_answers_is_closed(path):
    with (
        serving(path, options=["--grpc-port", "0", "--write-timeout", "0.5"]) as server,
        Peer(address_of(server)) as peer,
        RawHttp2(int(address_of(server).rpartition(":")[2])) as client,
    ):
        client.socket.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, 0)))
        client.send(client.call(INFERENCE + "ServerMetadata"), message_head(0), ends=True)
        with pytest.raises((EOFError, ConnectionError)):
            eventually(lambda: client.receive(0.1) and None)
        assert server.metrics()[_CUT % "slow_reader"] == 1
        assert isinstance(peer.ask("ServerLive"), bytes)
        assert server.troubles == []
