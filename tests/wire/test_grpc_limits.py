"""gRPC: incomplete messages, keys checked before messages, and clients that ignore the server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time

import grpc
import pytest

from bundles import write_tree_bundle
from grpc_peer import INFERENCE, LIMIT_S, Peer, address_of
from mlrf.serving.auth.keys import make_key, write_keys
from raw_http2 import DATA, RST_STREAM, SETTINGS, RawHttp2, frame, message_head
from running import cpu_s, eventually, serving

INFER, STREAM, LIVE = (INFERENCE + call for call in ("ModelInfer", "ModelStreamInfer", "ServerLive"))
WATCH = "/grpc.health.v1.Health/Watch"
SOON_S = 60.0
INITIAL_WINDOW_SIZE = 4
_OUT_OF_MEMORY = b"unfinished request bodies use all of this worker's memory"
OPTIONS = ["--grpc-port", "0", "--request-timeout", "0.5", "--idle-timeout", "1"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("limits") / "sales", name="sales")


@pytest.fixture(scope="module")
def server(path):
    with serving(path, options=OPTIONS) as running:
        yield running
        assert running.troubles == []


@pytest.fixture
def raw(server):
    with RawHttp2(port_of(server)) as client:
        yield client


def port_of(server):
    return int(address_of(server).rpartition(":")[2])


def text_of(client, stream):
    """Everything that a stream was answered, bytes as they came."""
    return b"".join(each.payload for each in client.frames if each.stream == stream)


@pytest.mark.parametrize("call", [INFER, STREAM, LIVE, WATCH])
@pytest.mark.parametrize("sent", [b"", message_head(100), message_head(100) + b"ab", message_head(100)[:3]])
def test_truncated_call_is_answered(raw, call, sent):
    stream = raw.call(call)
    raw.send(stream, sent, ends=True)
    assert raw.ended(stream, SOON_S)


@pytest.mark.parametrize("call", [INFER, STREAM, LIVE])
@pytest.mark.parametrize(
    ("head", "reason"),
    [(message_head(1 << 30), b"a message of 1073741824 bytes"), (b"\2\0\0\0\x63", b"the byte 0 or 1")],
)
@pytest.mark.parametrize("cut", range(6))
def test_a_message_is_refused_by_its_head_however_that_arrives(raw, call, head, reason, cut):
    stream = raw.call(call)
    raw.send(stream, head[:cut])
    time.sleep(0.01)
    raw.send(stream, head[cut:] + b"a")
    assert raw.ended(stream, SOON_S)
    assert reason in text_of(raw, stream)


@pytest.mark.parametrize("call", [INFER, STREAM])
def test_unfinished_message_is_ended_by_its_time_limit(raw, call):
    began = time.monotonic()
    stream = raw.call(call)
    raw.send(stream, message_head(1000) + bytes(999))
    assert raw.ended(stream, SOON_S)
    assert time.monotonic() - began >= 0.4
    assert b"the message was incomplete after" in text_of(raw, stream)


def test_an_unfinished_message_has_the_time_of_a_request(path):
    with (
        serving(path, options=["--grpc-port", "0", "--request-timeout", "0.5"]) as server,
        RawHttp2(port_of(server)) as client,
    ):
        stream = client.call(STREAM)
        client.send(stream, message_head(1000) + bytes(999))
        assert client.ended(stream, SOON_S)
        assert b"the message was incomplete after 0.5 s" in text_of(client, stream)


def test_empty_messages_that_wait_count_against_the_budget(path):
    """Five bytes to send, a hundred to keep: a stream whose answers are not read keeps those that came."""
    no_windows = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
    small = "from mlrf.serving.runtime import admission; admission._MAX_BODY_BYTES = 1 << 20"
    with (
        serving(path, options=["--grpc-port", "0"], broken_by=small) as server,
        RawHttp2(port_of(server)) as client,
    ):
        client.socket.sendall(no_windows)
        streams = [client.call(STREAM) for _ in range(4)]
        for stream in streams:
            client.send(stream, message_head(0) * 3200)
        eventually(
            lambda: client.receive(0.1) and _OUT_OF_MEMORY in b"".join(text_of(client, each) for each in streams)
        )
        assert server.troubles == []


def test_streams_leave_room_for_calls_of_one_message(path):
    few = "from mlrf.serving.oip.grpc import limits; limits.MAX_STREAMING = 3"
    with (
        serving(path, options=["--grpc-port", "0"], broken_by=few) as server,
        RawHttp2(port_of(server)) as client,
        Peer(address_of(server)) as peer,
    ):
        watches = [client.call(WATCH) for _ in range(4)]
        assert client.ended(watches[3], SOON_S)
        assert b"3 streams are open in this worker" in text_of(client, watches[3])
        assert isinstance(peer.ask("ServerLive"), bytes)
        client.socket.sendall(frame(RST_STREAM, 0, watches[0], bytes(4)))
        client.send(client.call(WATCH), message_head(0))
        eventually(lambda: client.receive(0.1) and any(each.kind == DATA for each in client.frames))


def test_stream_stays_open_while_messages_come(server):
    with Peer(address_of(server)) as peer:

        def messages():
            # For longer than the idle timeout in all, each of them long before it.
            for _ in range(8):
                time.sleep(0.2)
                yield b""

        def is_kept():
            """A busy machine may be late with a message; a server that looks at the whole stream ends every attempt."""
            with contextlib.suppress(grpc.RpcError):
                return len(list(peer.channel.stream_stream(STREAM)(messages(), timeout=LIMIT_S))) == 8
            return False

        eventually(is_kept, what="a stream that is kept")


def test_call_without_key_is_refused_before_its_message(path, tmp_path):
    keys = tmp_path / "keys"
    key, line = make_key("someone", ["predict"])
    write_keys(keys, {line.id: line})
    with serving(path, options=["--grpc-port", "0", "--keys", str(keys)]) as server:
        with RawHttp2(port_of(server)) as client:
            refused = [client.call(call) for call in (INFER, STREAM, INFERENCE + "ModelConfig")]
            assert all(client.ended(stream, SOON_S) for stream in refused)
            assert all(b"Authorization: Bearer" in text_of(client, stream) for stream in refused)
            admitted = client.call(INFER, {"authorization": f"Bearer {key}"})
            assert not client.ended(admitted, 0.3)
        with Peer(address_of(server)) as peer:
            assert peer.code("ServerLive") == grpc.StatusCode.OK


def test_of_two_keys_none_is_taken(path, tmp_path):
    keys = tmp_path / "keys"
    key, line = make_key("someone", ["predict"])
    write_keys(keys, {line.id: line})
    with serving(path, options=["--grpc-port", "0", "--keys", str(keys)]) as server, Peer(address_of(server)) as peer:
        call = peer.channel.unary_unary(INFERENCE + "RepositoryIndex")
        mine = ("authorization", f"Bearer {key}")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=LIMIT_S, metadata=(("authorization", "Bearer another"), mine))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert call(b"", timeout=LIMIT_S, metadata=(mine,))


def test_metadata_of_an_unacknowledging_client_is_cheap(server):
    (worker,) = server.workers()
    before_s = cpu_s(worker)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawHttp2(port_of(server), acks_settings=False)) for _ in range(30)]
        streams = [client.call(LIVE, n_more=100_000) for client in clients]
        for client, stream in zip(clients, streams, strict=True):
            with contextlib.suppress(EOFError, ConnectionError):
                assert client.ended(stream, LIMIT_S)
    # Objects of all of them took the event loop four seconds; after three without a sign of life a worker counts as hung.
    assert server.workers() == [worker]
    assert cpu_s(worker) - before_s < 2


def test_a_client_that_acknowledges_no_settings_is_disconnected(path):
    with (
        serving(path, options=["--grpc-port", "0", "--header-timeout", "0.5"]) as server,
        RawHttp2(port_of(server), acks_settings=False) as client,
    ):
        with pytest.raises((EOFError, ConnectionError)):
            eventually(lambda: client.receive(0.1) and None, LIMIT_S)
        assert server.troubles == []


def test_many_calls_at_once_are_all_answered(server):
    with contextlib.ExitStack() as stack:
        # More than a connection may have open at once; the library holds the rest back.
        calls = [stack.enter_context(Peer(address_of(server))).channel.unary_unary(LIVE) for _ in range(3)]
        for _ in range(3):
            answers = [call.future(b"", timeout=LIMIT_S) for call in calls for _ in range(300)]
            assert [each.code() for each in answers if each.code() != grpc.StatusCode.OK] == []


def test_metadata_that_are_no_text_are_not_logged(server, raw):
    stream = raw.call(LIVE, {"authorization": "Bearer \udcff\udcfe-secret"})
    raw.send(stream, message_head(0), ends=True)
    assert raw.ended(stream, SOON_S)
    assert not any("secret" in line for line in server.lines)


def watching(client):
    """Open a stream that the server answers and keeps open, so that the connection is not idle."""
    stream = client.call(WATCH)
    client.send(stream, message_head(0))
    eventually(lambda: client.receive(0.1) and any(each.kind == DATA for each in client.frames), SOON_S)
    return stream


def is_closed(port):
    """Whether a new connection ends before the server sends its settings, the first bytes of either side."""
    with socket.create_connection(("127.0.0.1", port), timeout=SOON_S) as client:
        try:
            return client.recv(100) == b""
        except ConnectionError:
            return True


def test_connections_beyond_the_limit_are_closed(path):
    with serving(path, options=["--grpc-port", "0", "--max-connections", "10"]) as server:
        port = port_of(server)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RawHttp2(port)) for _ in range(10)]
            for client in clients:
                watching(client)
            assert all(is_closed(port) for _ in range(30))
            for client in clients:
                stream = client.call(LIVE)
                client.send(stream, message_head(0), ends=True)
                assert client.ended(stream, SOON_S)
            assert server.is_ready()
        with Peer(address_of(server)) as late:
            eventually(lambda: late.code("ServerLive", wait_for_ready=True) == grpc.StatusCode.OK, what="room")
        assert server.troubles == []


def test_unread_streams_buffer_at_most_the_initial_window(raw):
    stream = watching(raw)
    left = raw.fill({stream: 1 << 20}, 0.5)
    assert left[stream] >= (1 << 20) - (128 << 10)


def test_connection_ignoring_goaway_does_not_delay_exit(path):
    options = ["--grpc-port", "0", "--drain-timeout", "3600"]
    with serving(path, options=options) as server, RawHttp2(port_of(server), acks_pings=False) as client:
        stream = client.call(LIVE)
        client.send(stream, message_head(0), ends=True)
        assert client.ended(stream, SOON_S)
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.wait() == 0
