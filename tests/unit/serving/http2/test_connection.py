"""HTTP/2 connections, judged by the library h2 and by what RFC 9113 demands of servers."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from examples import examples
from http2_frames import (
    BLOCK,
    CALM,
    CLOSED,
    COMPRESSION,
    FLOW_CONTROL,
    HAS_PRIORITY,
    HELLO,
    LIMIT_S,
    PADDED,
    PREFACE,
    PRIORITY,
    PROTOCOL,
    PUSH_PROMISE,
    REFUSED,
    SETTINGS_TIMEOUT,
    SIZE,
    answered,
    code_of,
    connected,
    opened,
    setting,
    word,
)
from http2_server import TRAILERS, Echo, http2_server
from mlrf.serving.http2.header_blocks import encode_fields
from raw_http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from running import eventually


@pytest.fixture(scope="module")
def server():
    # Floods are counted from one check to the next.
    with http2_server(check_s=10.0) as running:
        yield running


FATAL = {
    "no preface": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", PROTOCOL),
    "no settings first": (PREFACE + frame(PING, 0, 0, bytes(8)), PROTOCOL),
    "frame too long": (HELLO + frame(DATA, 0, 1, bytes(16385)), SIZE),
    "content before headers": (HELLO + frame(DATA, 0, 1, b"x"), PROTOCOL),
    "content of the connection": (HELLO + frame(DATA, 0, 0, b"x"), PROTOCOL),
    "reset before headers": (HELLO + frame(RST_STREAM, 0, 1, bytes(4)), PROTOCOL),
    "reset of the connection": (HELLO + frame(RST_STREAM, 0, 0, bytes(4)), PROTOCOL),
    "reset of five bytes": (HELLO + opened() + frame(RST_STREAM, 0, 1, bytes(5)), SIZE),
    "even stream": (HELLO + opened(2), PROTOCOL),
    "headers of the connection": (HELLO + frame(HEADERS, END_HEADERS, 0, BLOCK), PROTOCOL),
    "stream below the last": (HELLO + opened(5) + opened(3), CLOSED),
    "headers after the end": (HELLO + opened(1, END_HEADERS | END_STREAM) + opened(1), CLOSED),
    "padding as long as the frame": (HELLO + opened() + frame(DATA, PADDED, 1, b"\x05abcd"), PROTOCOL),
    "padded without length": (HELLO + opened() + frame(DATA, PADDED, 1), SIZE),
    "padded headers": (HELLO + frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + BLOCK), PROTOCOL),
    "short priority in headers": (HELLO + frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\0\0"), SIZE),
    "priority of the connection": (HELLO + frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "block interrupted": (HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8)), PROTOCOL),
    "block of another stream": (HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 4, 3, b""), PROTOCOL),
    "continuation of nothing": (HELLO + frame(CONTINUATION, END_HEADERS, 1, BLOCK), PROTOCOL),
    "continued without end": (HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, bytes(9000)) * 2, CALM),
    "continued by nothing": (HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1) * 5000, CALM),
    "index of no entry": (HELLO + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\x0f"), COMPRESSION),
    "index zero": (HELLO + frame(HEADERS, END_HEADERS, 1, b"\x80"), COMPRESSION),
    "truncated literal": (HELLO + frame(HEADERS, END_HEADERS, 1, b"\x40\x0aab"), COMPRESSION),
    "table larger than allowed": (HELLO + frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\xff\x03"), COMPRESSION),
    "list of 64 KiB": (HELLO + frame(HEADERS, END_HEADERS, 1, BLOCK + b"\x95" * 3000), COMPRESSION),
    "push promise": (HELLO + frame(PUSH_PROMISE, END_HEADERS, 1, word(2)), PROTOCOL),
    "settings of a stream": (PREFACE + frame(SETTINGS, 0, 1), PROTOCOL),
    "settings of five bytes": (PREFACE + frame(SETTINGS, 0, 0, bytes(5)), SIZE),
    "acknowledgement with content": (HELLO + frame(SETTINGS, ACK, 0, bytes(6)), SIZE),
    "push neither on nor off": (PREFACE + setting(2, 2), PROTOCOL),
    "window of 2^31": (PREFACE + setting(4, 1 << 31), FLOW_CONTROL),
    "frames too short": (PREFACE + setting(5, 16383), PROTOCOL),
    "frames too long": (PREFACE + setting(5, 1 << 24), PROTOCOL),
    "ping of seven bytes": (HELLO + frame(PING, 0, 0, bytes(7)), SIZE),
    "ping of a stream": (HELLO + frame(PING, 0, 1, bytes(8)), PROTOCOL),
    "goaway of a stream": (HELLO + frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "window update of three bytes": (HELLO + frame(WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    "window of the connection by nothing": (HELLO + frame(WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL),
    "window of the connection too wide": (HELLO + frame(WINDOW_UPDATE, 0, 0, word((1 << 31) - 1)), FLOW_CONTROL),
    "window of no stream": (HELLO + frame(WINDOW_UPDATE, 0, 1, word(1)), PROTOCOL),
    "a flood of pings": (HELLO + frame(PING, 0, 0, bytes(8)) * 5000, CALM),
    "a flood of settings": (HELLO + frame(SETTINGS, 0, 0) * 5000, CALM),
    "a flood of empty content": (HELLO + opened() + frame(DATA, 0, 1) * 5000, CALM),
    "a flood of unknown frames": (HELLO + frame(99, 0, 0) * 5000, CALM),
    "rapid resets": (
        HELLO + b"".join(opened(1 + 2 * n) + frame(RST_STREAM, 0, 1 + 2 * n, word(8)) for n in range(5000)),
        CALM,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FATAL)
def test_what_breaks_the_protocol_ends_the_connection(server, what):
    content, code = FATAL[what]
    assert code_of(server, content, GOAWAY) == code


def field(name, value):
    """A field that no table remembers."""
    return encode_fields([(name, value)])


def declared(*lengths, flags=END_HEADERS):
    """The start of a request with these content-lengths."""
    return frame(HEADERS, flags, 1, BLOCK + b"".join(field(b"content-length", each) for each in lengths))


OF_ONE_STREAM = {
    "window too wide": (opened() + frame(WINDOW_UPDATE, 0, 1, word((1 << 31) - 1)), FLOW_CONTROL),
    "window by nothing": (opened() + frame(WINDOW_UPDATE, 0, 1, bytes(4)), PROTOCOL),
    "a stream that depends on itself": (frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, word(1) + b"\0" + BLOCK), PROTOCOL),
    "priority on itself": (opened() + frame(PRIORITY, 0, 1, word(1) + b"\0"), PROTOCOL),
    "priority of four bytes": (opened() + frame(PRIORITY, 0, 1, bytes(4)), SIZE),
    "upper case": (frame(HEADERS, END_HEADERS, 1, BLOCK + b"\0\x01A\x01b"), PROTOCOL),
    "connection header": (frame(HEADERS, END_HEADERS, 1, BLOCK + b"\0\x0aconnection\x01b"), PROTOCOL),
    "te of gzip": (frame(HEADERS, END_HEADERS, 1, BLOCK + b"\0\x02te\x04gzip"), PROTOCOL),
    "pseudo header behind": (frame(HEADERS, END_HEADERS, 1, b"\x83\x86\0\x01a\x01b\x84"), PROTOCOL),
    "pseudo header of answers": (frame(HEADERS, END_HEADERS, 1, BLOCK[:3] + b"\x88"), PROTOCOL),
    "pseudo header unknown": (frame(HEADERS, END_HEADERS, 1, BLOCK[:3] + b"\0\x02:x\x01b"), PROTOCOL),
    "pseudo header twice": (frame(HEADERS, END_HEADERS, 1, BLOCK[:3] + b"\x84"), PROTOCOL),
    "no path": (frame(HEADERS, END_HEADERS, 1, b"\x83\x86"), PROTOCOL),
    "empty path": (frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x04\x00"), PROTOCOL),
    "line break in a value": (frame(HEADERS, END_HEADERS, 1, BLOCK + b"\0\x01a\x03b\r\n"), PROTOCOL),
    "control character in a value": (frame(HEADERS, END_HEADERS, 1, BLOCK + field(b"a", b"b\x1fc")), PROTOCOL),
    "trailing blank in a value": (frame(HEADERS, END_HEADERS, 1, BLOCK + field(b"a", b"b\t")), PROTOCOL),
    "space in the path": (frame(HEADERS, END_HEADERS, 1, b"\x83\x86" + field(b":path", b"/ HTTP/1.1")), PROTOCOL),
    "path without a slash": (frame(HEADERS, END_HEADERS, 1, b"\x83\x86" + field(b":path", b"a")), PROTOCOL),
    "scheme of ftp": (frame(HEADERS, END_HEADERS, 1, b"\x83\x84" + field(b":scheme", b"ftp")), PROTOCOL),
    "host other than authority": (frame(HEADERS, END_HEADERS, 1, BLOCK + field(b"host", b"b")), PROTOCOL),
    "two hosts": (frame(HEADERS, END_HEADERS, 1, BLOCK + field(b"host", b"a") * 2), PROTOCOL),
    "two content-lengths": (declared(b"1", b"1"), PROTOCOL),
    "list of content-lengths": (declared(b"1, 1"), PROTOCOL),
    "negative content-length": (declared(b"-1"), PROTOCOL),
    "signed content-length": (declared(b"+1"), PROTOCOL),
    "content-length of many digits": (declared(b"1" * 5000), PROTOCOL),
    "empty content-length": (declared(b""), PROTOCOL),
    "content-length without content": (declared(b"1", flags=END_HEADERS | END_STREAM), PROTOCOL),
    "content beyond its length": (declared(b"4") + frame(DATA, 0, 1, b"ab") + frame(DATA, 0, 1, b"abc"), PROTOCOL),
    "content short of its length": (declared(b"6") + frame(DATA, 0, 1, b"ab") + frame(DATA, END_STREAM, 1, b"abc"), PROTOCOL),
    "no content in place of its length": (declared(b"6") + frame(DATA, END_STREAM, 1), PROTOCOL),
    "trailers before all content": (
        declared(b"3") + frame(DATA, 0, 1, b"ab") + frame(HEADERS, END_HEADERS | END_STREAM, 1, field(b"a", b"b")),
        PROTOCOL,
    ),
    "line break in trailers": (
        opened() + frame(HEADERS, END_HEADERS | END_STREAM, 1, field(b"a", b"b\r\nc: d")), PROTOCOL,
    ),
    "te of gzip in trailers": (opened() + frame(HEADERS, END_HEADERS | END_STREAM, 1, field(b"te", b"gzip")), PROTOCOL),
    "trailers that do not end": (opened() + frame(HEADERS, END_HEADERS, 1, b"\0\x01a\x01b"), PROTOCOL),
    "pseudo header in trailers": (opened() + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x84"), PROTOCOL),
}  # fmt: skip


@pytest.mark.parametrize("what", OF_ONE_STREAM)
def test_what_breaks_a_stream_ends_that_stream_only(server, what):
    content, code = OF_ONE_STREAM[what]
    assert code_of(server, HELLO + content, RST_STREAM, 1) == code
    after = HELLO + content + opened(3, END_HEADERS | END_STREAM)
    found = answered(
        server, after, lambda kind, flags, number, _: kind == HEADERS and flags & END_STREAM and number == 3
    )
    assert found is not None


RIGHT_LENGTHS = {
    "in one frame": declared(b"3") + frame(DATA, END_STREAM, 1, b"abc"),
    "in several": declared(b"03") + frame(DATA, 0, 1, b"a") + frame(DATA, 0, 1, b"bc") + frame(DATA, END_STREAM, 1),
    "padded": declared(b"3") + frame(DATA, PADDED | END_STREAM, 1, b"\x02abc\0\0"),
    "with trailers": (
        declared(b"3") + frame(DATA, 0, 1, b"abc") + frame(HEADERS, END_HEADERS | END_STREAM, 1, field(b"te", b"trailers"))
    ),
    "none": declared(b"0", flags=END_HEADERS | END_STREAM),
    "of the host": frame(HEADERS, END_HEADERS | END_STREAM, 1, BLOCK + field(b"host", b"A")),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT_LENGTHS)
def test_a_request_of_its_declared_length_is_answered(server, what):
    found = answered(server, HELLO + RIGHT_LENGTHS[what], lambda kind, *_: kind in (HEADERS, RST_STREAM, GOAWAY))
    assert found[0] == HEADERS


class _Deaf(Echo):
    """Grants nothing."""

    __slots__ = ()

    def received(self, content):
        pass


def test_content_beyond_the_window_of_a_stream_resets_it():
    with http2_server(stream=_Deaf) as server:
        assert code_of(server, HELLO + opened() + frame(DATA, 0, 1, bytes(16384)) * 5, RST_STREAM, 1) == FLOW_CONTROL


def test_content_in_transit_for_an_ended_stream_is_no_flood(server):
    late = frame(DATA, 0, 1, b"x") * 5000
    after = HELLO + opened(1) + frame(RST_STREAM, 0, 1, word(8)) + late + opened(3, END_HEADERS | END_STREAM)
    found = answered(
        server, after, lambda kind, flags, number, _: kind == GOAWAY or (flags & END_STREAM and number == 3)
    )
    assert found[0] == HEADERS


def test_more_streams_than_all_connections_may_have_are_refused():
    with http2_server(max_all_streams=3) as server, connected(server) as other:
        other.sendall(HELLO + opened(1) + opened(3))
        eventually(lambda: server.server.n_streams == 2)
        assert code_of(server, HELLO + opened(1) + opened(3), RST_STREAM, 3) == REFUSED
        eventually(lambda: server.server.n_streams == 2, what="the streams of the closed connection to end")
        other.sendall(frame(RST_STREAM, 0, 1, word(8)))
        eventually(lambda: server.server.n_streams == 1)


class _WithBytesUnsent:
    """A transport of which the socket has not taken all, though less than pauses writing."""

    def __init__(self, transport):
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def get_write_buffer_size(self):
        return 10


def test_a_client_that_reads_slowly_is_answered_meanwhile():
    with http2_server() as server, connected(server) as client:
        client.sendall(HELLO + frame(SETTINGS, ACK, 0))
        (connection,) = eventually(lambda: tuple(server.server._connections))
        connection._transport = _WithBytesUnsent(connection._transport)
        eventually(lambda: connection._stuck_since_s)
        client.sendall(opened(1, END_HEADERS | END_STREAM))
        received = b""
        while frame(HEADERS, END_HEADERS | END_STREAM, 1, TRAILERS) not in received:
            received += client.recv(1 << 16)


def test_settings_that_are_not_acknowledged_end_the_connection():
    with http2_server(header_timeout_s=0.1) as server:
        assert code_of(server, HELLO, GOAWAY) == SETTINGS_TIMEOUT
        assert server.meter.cuts["protocol_error"] == 1


def test_an_idle_connection_is_closed_without_an_error():
    with http2_server(idle_timeout_s=0.1) as server:
        assert code_of(server, HELLO + frame(SETTINGS, ACK, 0), GOAWAY) == 0


def test_a_peer_that_is_gone_is_found_by_pings():
    with http2_server(idle_timeout_s=0.1, write_timeout_s=0.2) as server:
        with connected(server) as client:
            client.sendall(HELLO + frame(SETTINGS, ACK, 0) + opened())
            received = b""
            with suppress(ConnectionResetError):
                while more := client.recv(1 << 16):
                    received += more
        assert frame(PING, 0, 0, b"liveness") in received
        eventually(lambda: server.meter.n_open == 0, what="the end of a silent peer")


def test_unread_answer_ends_its_stream_not_the_connection():
    with http2_server(write_timeout_s=0.1) as server:
        hello = PREFACE + setting(4, 0) + frame(SETTINGS, ACK, 0) + opened(1, END_HEADERS | END_STREAM)
        found = answered(
            server, hello, lambda kind, flags, number, _: kind == HEADERS and flags & END_STREAM and number == 1
        )
        assert found is not None


def test_idle_connections_make_room_for_new_ones():
    hello = HELLO + frame(SETTINGS, ACK, 0)
    with http2_server(max_connections=2) as server, connected(server) as one, connected(server) as another:
        for client in (one, another):
            client.sendall(hello)

        def is_let_in():
            content = hello + opened(1, END_HEADERS | END_STREAM)
            return answered(server, content, lambda kind, *_: kind == HEADERS) is not None

        # Refused while the two have not been idle for long enough.
        eventually(is_let_in, what="room for another connection")
        assert server.meter.cuts["idle_evicted"] >= 1


class _Judge:
    """h2 as the client, over a socket."""

    def __init__(self, port, window=65535):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def events(self):
        content = self.socket.recv(1 << 16)
        assert content, "the server closed the connection"
        events = self.h2.receive_data(content)
        self.flush()
        return events

    def ask(self, path, content, headers=()):
        """Return content and trailers of the answer."""
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a"), *headers]
        self.h2.send_headers(stream, fields, end_stream=not content)
        self.flush()
        answer, rest = bytearray(), memoryview(content)
        while True:
            while rest and (n := min(len(rest), self.h2.local_flow_control_window(stream), 16384)) > 0:
                self.h2.send_data(stream, bytes(rest[:n]), end_stream=n == len(rest))
                rest = rest[n:]
            self.flush()
            for event in self.events():
                if isinstance(event, h2.events.DataReceived):
                    answer += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers = event.headers
                elif isinstance(event, h2.events.StreamEnded):
                    self.flush()
                    return bytes(answer), dict(trailers)
                assert not isinstance(event, h2.events.StreamReset)


@pytest.mark.parametrize("window", [1, 100, 65535, 1 << 20])
@pytest.mark.parametrize("size", [0, 1, 16384, 100_000])
def test_judged_by_h2_content_and_windows_are_right(server, size, window):
    size = min(size, 500 * window)  # more updates of so small windows are a flood
    content = random.Random(size).randbytes(size)
    with _Judge(server.port, window) as judge:
        for number in range(3):
            answer, trailers = judge.ask(f"/{number}", content)
            assert answer == b"/%d" % number + content
            assert trailers == {b"echo": b"done"}


def test_judged_by_h2_header_tables_stay_equal(server):
    random_ = random.Random(1)
    with _Judge(server.port) as judge:
        for number in range(300):
            # h2's encoder indexes what it sends: each call may change the table that cached blocks rely on.
            headers = [
                (f"x-{random_.randrange(80)}", "v" * random_.randrange(120)) for _ in range(random_.randrange(4))
            ]
            path = f"/{random_.choice(['a', 'b', number])}"
            assert judge.ask(path, b"", headers)[0] == path.encode()


def test_mutated_frames_never_raise(server):
    random_ = random.Random(7)
    good = (
        HELLO + frame(SETTINGS, ACK, 0) + setting(4, 100) + opened() + frame(DATA, 0, 1, b"abc") + frame(PING, 0, 0, bytes(8))
        + frame(WINDOW_UPDATE, 0, 1, word(9)) + frame(DATA, END_STREAM, 1, b"d") + opened(3) + frame(RST_STREAM, 0, 3, word(8))
    )  # fmt: skip
    for _ in range(examples(400)):
        content = bytearray(good)
        for _ in range(random_.randrange(1, 6)):
            content[random_.randrange(len(PREFACE), len(content))] = random_.randrange(256)
        with connected(server) as client, suppress(ConnectionError):
            client.sendall(content[: random_.randrange(len(PREFACE), len(content) + 1)])
            # The server has seen this connection's end before the next one begins: it holds a limited number of them.
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass
    with _Judge(server.port) as judge:
        assert judge.ask("/alive", b"")[0] == b"/alive"
        eventually(lambda: server.meter.n_open == 1)


def test_bytes_one_by_one_mean_the_same(server):
    content = HELLO + opened(1) + frame(DATA, END_STREAM, 1, b"abc")
    with connected(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in content:
            client.sendall(bytes((byte,)))
        received = b""
        while b"/abc" not in received:
            more = client.recv(1 << 16)
            assert more
            received += more
