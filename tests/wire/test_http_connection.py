"""Connections: however the bytes of requests are segmented, each is answered once, in order."""

from __future__ import annotations

import contextlib
import gzip
import random
import socket
import struct
import time

import pytest

from bundles import ALL_KINDS, margins_of
from raw_http import Client, chunked, request
from running import eventually, resident_bytes

BODY = {"features": ALL_KINDS.example()}
PREDICTION = margins_of(ALL_KINDS.row(ALL_KINDS.example()))[0]


def instance(price):
    return {"features": ALL_KINDS.example() | {"price": price}}


def prediction_of(price):
    return margins_of(ALL_KINDS.row(instance(price)["features"]))[0]


def test_a_connection_is_kept_for_the_next_request(server):
    with server.client() as client:
        for _ in range(3):
            assert client.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION


def test_pipelined_requests_are_answered_in_order(server):
    prices = [random.Random(1).choice((0.0, 1.0)) for _ in range(500)]
    with server.client() as client:
        client.send(
            b"".join(request("POST", "/predict", instance(p), [f"X-Request-ID: {i}"]) for i, p in enumerate(prices))
        )
        for i, price in enumerate(prices):
            answer = client.answer()
            assert answer.headers["x-request-id"] == str(i)
            assert answer.json["prediction"] == prediction_of(price)


def test_requests_split_at_every_byte_are_the_same_requests(server):
    stream = request("POST", "/predict", BODY, ["X-Request-ID: one"])
    stream += request("POST", "/predict", chunked(b'{"features": []}', [3]), ["Transfer-Encoding: chunked"])
    stream += request("GET", "/healthz", headers=["X-Request-ID: three"])
    for cut in range(1, len(stream)):
        with server.client() as client:
            client.send(stream[:cut])
            # A worker that reads both halves at once would not be tested.
            if cut % 8 == 0:
                time.sleep(0.001)
            client.send(stream[cut:])
            assert [client.answer().status for _ in range(3)] == [200, 422, 200]


def test_a_request_sent_byte_by_byte_is_answered(server):
    with server.client() as client:
        for byte in request("POST", "/predict", BODY):
            client.send(bytes([byte]))
        assert client.answer().json["prediction"] == PREDICTION


@pytest.mark.parametrize("seed", range(10))
def test_chunks_may_be_cut_anywhere(server, seed):
    chance = random.Random(seed)
    content = request("POST", "/predict", BODY).partition(b"\r\n\r\n")[2]
    body = chunked(content, [chance.randint(1, 40) for _ in range(10)])
    stream = request("POST", "/predict", body, ["Transfer-Encoding: chunked"]) * 3
    with server.client() as client:
        while stream:
            cut = chance.randint(1, 200)
            client.send(stream[:cut])
            stream = stream[cut:]
        for _ in range(3):
            assert client.answer().json["prediction"] == PREDICTION


def test_chunk_extensions_and_trailers_are_read_and_forgotten(server):
    body = b'2;a=b\r\n{"\r\n1\r\nx\r\n0;last\r\nExpires: never\r\nX: y\r\n\r\n'
    with server.client() as client:
        client.send(request("POST", "/predict", body, ["Transfer-Encoding: chunked"]))
        assert client.answer().code == "MALFORMED_REQUEST"
        assert client.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("is_first", [True, False])
def test_an_empty_line_before_a_request_is_forgiven(server, is_first):
    stream = b"\r\n" + request("GET", "/healthz")
    for cut in range(5):
        with server.client() as client:
            if not is_first:
                assert client.ask("GET", "/healthz").status == 200
            client.send(stream[:cut])
            time.sleep(0.01)
            client.send(stream[cut:])
            assert client.answer().status == 200


@pytest.mark.parametrize("lines", [b"\r\n\n", b"\r\n\r", b"\r\n\r\n"])
def test_another_line_end_behind_an_empty_line_is_refused(server, lines):
    stream = lines + request("GET", "/healthz")
    for cut in range(len(lines) + 2):
        with server.client() as client:
            client.send(stream[:cut])
            time.sleep(0.01)
            with contextlib.suppress(ConnectionError):
                client.send(stream[cut:])
            assert client.answer().status == 400
            assert client.is_closed()


@pytest.mark.parametrize("path", ["/healthz", "/models", "/metrics", "/docs", "/openapi.json", "/nowhere", "/predict"])
def test_head_answers_as_get_without_a_body(server, path):
    with server.client() as client:
        got, head = client.ask("GET", path), client.ask("HEAD", path)
        assert head.status == got.status
        assert head.headers["content-type"] == got.headers["content-type"]
        if path not in ("/metrics", "/nowhere", "/predict"):
            assert head.headers["content-length"] == got.headers["content-length"]
        assert client.ask("GET", "/healthz").status == 200


def test_connection_close_is_answered_and_closed(server):
    with server.client() as client:
        answer = client.ask("POST", "/predict", BODY, ["Connection: close"])
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()


def test_nothing_after_connection_close_is_answered(server):
    with server.client() as client:
        client.send(request("GET", "/healthz", headers=["Connection: close"]) + request("GET", "/healthz"))
        assert client.answer().status == 200
        assert client.is_closed()


def test_http_1_0_closes_without_keep_alive(server):
    with server.client() as client:
        client.send(request("GET", "/healthz", version="1.0"))
        assert client.answer().status == 200
        assert client.is_closed()
    with server.client() as client:
        for _ in range(2):
            client.send(request("GET", "/healthz", headers=["Connection: Keep-Alive"], version="1.0"))
            answer = client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
    with server.client() as client:
        client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.answer().status == 200


@pytest.mark.parametrize(
    "target",
    ["http://elsewhere.example/predict", "/predict?a=b&c", "/%70redict", "/models/sample/predict?x=%00", "/predict?"],
)
def test_target_may_be_absolute_or_percent_encoded(server, target):
    assert server.ask("POST", target, BODY).json["prediction"] == PREDICTION


@pytest.mark.parametrize("target", ["HTTPS://elsewhere.example:8443/healthz", "http://[::1]:80/healthz?x"])
def test_target_may_be_a_url_of_http(server, target):
    assert server.ask("GET", target).status == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("CONNECT", "a:1"),
        ("CONNECT", "/healthz"),
        ("GET", "ftp://a/healthz"),
        ("GET", "gopher://a/healthz"),
        ("GET", "http://user@a/healthz"),
        ("GET", "http://user:secret@a/healthz"),
        ("GET", "http:///healthz"),
        ("GET", "http://a:b/healthz"),
    ],
)
def test_targets_of_proxies_are_refused_and_the_connection_closed(server, method, target):
    with server.client() as client:
        client.send(request(method, target) + request("GET", "/healthz"))
        answer = client.answer()
        assert (answer.status, answer.code, answer.headers["connection"]) == (400, "MALFORMED_REQUEST", "close")
        assert client.is_closed()


@pytest.mark.parametrize(
    "target", ["/pred%ff", "/%E0%80", "*", "/a%zz", "//", "/../etc/passwd", "/models/../predict", "/predict/"]
)
def test_strange_targets_are_refused_and_the_connection_stays(server, target):
    with server.client() as client:
        assert client.ask("POST", target, BODY).status in (400, 404)
        assert client.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
def test_an_upgrade_is_ignored(server, upgrade):
    with server.client() as client:
        answer = client.ask("POST", "/predict", BODY, [f"Upgrade: {upgrade}", "Connection: Upgrade, HTTP2-Settings"])
        assert answer.json["prediction"] == PREDICTION


def test_expect_continue_is_answered_before_the_body(server):
    head, _, body = request("POST", "/predict", BODY, ["Expect: 100-continue"]).partition(b"\r\n\r\n")
    with server.client() as client:
        client.send(head + b"\r\n\r\n")
        assert client.answer().status == 100
        client.send(body[:5])
        time.sleep(0.02)
        client.send(body[5:])
        assert client.answer().json["prediction"] == PREDICTION
        assert client.ask("GET", "/healthz").status == 200


def test_expect_continue_precedes_the_first_chunk(server):
    stream = request("POST", "/predict", chunked(b"[]", []), ["Transfer-Encoding: chunked", "Expect: 100-continue"])
    head, _, body = stream.partition(b"\r\n\r\n")
    with server.client() as client:
        client.send(head + b"\r\n\r\n")
        assert client.answer().status == 100
        client.send(body)
        assert client.answer().status == 422


def test_expect_continue_is_refused_for_a_large_body(strict):
    with strict.client() as client:
        client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().code == "BODY_TOO_LARGE"
        assert client.is_closed()


def test_an_unknown_expectation_fails(server):
    with server.client() as client:
        answer = client.ask("POST", "/predict", BODY, ["Expect: a miracle"])
        assert (answer.status, answer.code) == (417, "EXPECTATION_FAILED")
        assert client.is_closed()


def test_gzip_requests_are_unpacked(server):
    packed = gzip.compress(request("POST", "/predict", BODY).partition(b"\r\n\r\n")[2])
    headers = ["Content-Encoding: gzip"]
    assert server.ask("POST", "/predict", packed, headers).json["prediction"] == PREDICTION
    assert server.ask("POST", "/predict", packed[:-1], headers).code == "MALFORMED_REQUEST"
    assert server.ask("POST", "/predict", packed + b"x", headers).code == "MALFORMED_REQUEST"
    assert server.ask("POST", "/predict", b"{}", headers).code == "MALFORMED_REQUEST"
    assert server.ask("POST", "/predict", b"", headers).code == "MALFORMED_REQUEST"
    assert server.ask("POST", "/predict", packed, ["Content-Encoding: br"]).code == "UNSUPPORTED_MEDIA_TYPE"


def test_a_gzip_bomb_is_refused_without_growing(server):
    bomb = gzip.compress(bytes(200 << 20), 9)
    (worker,) = server.workers()
    before = resident_bytes(worker)
    for _ in range(3):
        answer = server.ask("POST", "/predict", bomb, ["Content-Encoding: gzip"])
        assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")
    assert resident_bytes(worker) < before + (40 << 20)


def test_an_unfinished_request_times_out(strict):
    for unfinished in (b"POST /pre", b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{", b"\r\n\r"):
        with strict.client() as client:
            client.send(unfinished)
            answer = client.answer()
            assert (answer.status, answer.code) == (408, "REQUEST_TIMEOUT")
            assert client.is_closed()


@pytest.mark.parametrize(
    "stream",
    [
        b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 1800,
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1800\r\n\r\n" + b" " * 1799,
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 300,
    ],
    ids=["head", "body", "chunks"],
)
def test_a_request_that_drips_in_times_out_all_the_same(strict, stream):
    """A byte now and then must not hold a connection: the limit is for the whole request."""
    with strict.client() as client:
        client.socket.settimeout(0.1)
        for byte in stream:
            client.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                answer = client.answer()
                assert (answer.status, answer.code) == (408, "REQUEST_TIMEOUT")
                return
    pytest.fail("the drip was never ended")


def test_an_idle_connection_is_closed_in_silence(strict):
    with strict.client() as client:
        assert client.ask("GET", "/healthz").status == 200
        assert client.is_closed()


def test_client_that_never_reads_is_closed_cheaply(strict):
    (worker,) = strict.workers()
    before = resident_bytes(worker)
    answered = strict.metrics()["mlrf_requests_total;route=/openapi.json;status=200"]
    with Client(strict.port, receive_bytes=4096) as client:
        client.socket.settimeout(0.5)
        flood = request("GET", "/openapi.json") * 200
        try:
            for _ in range(200):
                client.send(flood)
        except OSError:
            pass
        assert resident_bytes(worker) < before + (16 << 20)
        eventually(lambda: strict.metrics()["mlrf_open_connections"] == 1, what="the end of the connection")
    assert strict.metrics()["mlrf_requests_total;route=/openapi.json;status=200"] - answered < 2000


def test_slow_but_active_reader_gets_every_answer(server):
    n = 300
    length = len(server.ask("GET", "/openapi.json").body)
    with Client(server.port, receive_bytes=8192) as client:
        client.send(request("GET", "/openapi.json") * n)
        time.sleep(0.7)
        for _ in range(n):
            answer = client.answer()
            assert (answer.status, len(answer.body)) == (200, length)
        assert client.ask("POST", "/predict", BODY).status == 200


def test_slow_reader_gets_the_last_answer_before_close(server):
    """What waits to be written when the connection closes is still written, though it takes a while."""
    counter = "mlrf_requests_total;route=/openapi.json;status=200"
    length = len(server.ask("GET", "/openapi.json").body)
    n = (8 << 20) // length
    expected = server.metrics()[counter] + n + 1
    with Client(server.port, receive_bytes=2048) as client:
        client.send(
            request("GET", "/openapi.json") * n + request("GET", "/openapi.json", headers=["Connection: close"])
        )
        read = 0
        while read < n + 1 and server.metrics()[counter] < expected:
            for _ in range(min(4, n + 1 - read)):
                assert len(client.answer().body) == length
                read += 1
        # Longer than a connection without anything to write may linger.
        time.sleep(3.0)
        for _ in range(n + 1 - read):
            assert len(client.answer().body) == length
        assert client.is_closed()


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json"])
def test_vanished_clients_leave_nothing_behind(server, path):
    """A reset in the middle of many answers does not harm the server."""
    for _ in range(10):
        with server.client() as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(request("GET", path) * 400 + b"GET /half")
    eventually(lambda: server.metrics()["mlrf_open_connections"] <= 1, what="the end of the connections")


def test_a_client_that_shuts_its_side_down_gets_its_answer(server):
    with server.client() as client:
        client.send(request("POST", "/predict", BODY))
        client.socket.shutdown(1)
        assert client.answer().json["prediction"] == PREDICTION
        assert client.is_closed()


def test_a_request_id_is_echoed_or_made(server):
    with server.client() as client:
        assert (
            client.ask("GET", "/healthz", headers=["X-Request-ID: abc-1.2:3/4+5=_"]).headers["x-request-id"]
            == "abc-1.2:3/4+5=_"
        )
        made = [client.ask("GET", "/healthz").headers["x-request-id"] for _ in range(20)]
        made += [
            client.ask("GET", "/healthz", headers=[f"X-Request-ID: {bad}"]).headers["x-request-id"]
            for bad in ("", "a b", "x" * 129)
        ]
        assert len(set(made)) == len(made)
        refused = client.ask("POST", "/predict", b"", ["X-Request-ID: mine"])
        assert refused.headers["x-request-id"] == refused.json["request_id"] == "mine"


def test_a_refusal_that_closes_echoes_the_request_id_too(strict):
    for headers in (["Content-Length: 5000"], ["Transfer-Encoding: chunked"]):
        with strict.client() as client:
            client.send(request("POST", "/predict", b"ffff\r\n", [*headers, "X-Request-ID: mine"]))
            answer = client.answer()
            assert answer.status == 413
            assert answer.headers["x-request-id"] == answer.json["request_id"] == "mine"


def test_answers_carry_their_length_date_and_timing(server):
    answer = server.ask("POST", "/predict", BODY)
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.headers["date"].endswith("GMT")
    assert float(answer.headers["server-timing"].removeprefix("total;dur=")) >= 0
    assert answer.headers["content-type"] == "application/json"


def test_heads_never_seen_before_cost_no_lasting_memory(server):
    """Heads are cached to save parsing; large ones must not fill the memory."""
    (worker,) = server.workers()
    before = resident_bytes(worker)
    with server.client() as client:
        for i in range(2000):
            assert client.ask("GET", f"/healthz?{i}", headers=["X-Padding: " + "x" * 30000]).status == 200
    assert resident_bytes(worker) < before + (12 << 20)
