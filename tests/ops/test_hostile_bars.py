"""Rows 10, 20, 21, 22 and 24 of the scoreboard: clients that leave, choke, drip, and guess."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import resource
import socket
import struct
import time

import pytest

from bundles import ALL_KINDS, margins_of, write_bundle
from raw_http import Client, request
from running import cpu_ns, eventually, resident_bytes, serving
from scoreboard import FULL, bar

SECONDS = 5.0 if FULL else 0.5
EXAMPLE = ALL_KINDS.example()
BODY = {"features": EXAMPLE}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("hostile") / "b")


@pytest.fixture(scope="module")
def running(path):
    with serving(path, workers=2) as server:
        server.booted(2)
        yield server


@pytest.fixture
def server(running):
    pids = running.workers()
    yield running
    eventually(running.is_ready)
    assert (running.workers(), running.troubles) == (pids, [])


def spent_ms(server, work) -> float:
    """Milliseconds of processor time that the workers spend on some work."""
    before = sum(map(cpu_ns, server.workers()))
    work()
    return (sum(map(cpu_ns, server.workers())) - before) / 1e6


def test_cancelled_requests_leave_no_answer_to_others(server):
    """A client in five leaves before its answer; whoever stays gets the answer to its own row, under its own id."""
    n, chance, wrong = (100_000 if FULL else 1_000), random.Random(5), 0
    prices = [0.0, 1.0, 2.0]
    right = [margins_of(ALL_KINDS.row(EXAMPLE | {"price": price}))[0] for price in prices]
    contents = [json.dumps({"features": EXAMPLE | {"price": price}}).encode() for price in prices]
    with contextlib.ExitStack() as opened:
        clients: dict[int, Client] = {}
        for number in range(n):
            place, which = number % 8, chance.randrange(len(prices))
            client = clients.get(place) or opened.enter_context(server.client())
            clients[place] = client
            client.send(request("POST", "/predict", contents[which], [f"X-Request-ID: {number}"]))
            if chance.random() < 0.2:
                if chance.random() < 0.5:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.socket.close()
                del clients[place]
                continue
            answer = client.answer()
            wrong += answer.headers["x-request-id"] != str(number) or answer.json["prediction"] != right[which]
    bar(10, f"answers of another request, of {n}, a fifth cancelled", wrong, 0)


CHOKING = {
    "depth of 10^6": b'{"features":' + b"[" * 1_000_000,
    "depth of 10^6, closed": b"[" * 1_000_000 + b"]" * 1_000_000,
    "objects to a depth of 10^6": b'{"a":' * 1_000_000,
    "a number of 10^6 digits": b'{"features": {"price": ' + b"9" * 1_000_000 + b"}}",
    "a fraction of 10^6 digits": b'{"features": {"price": 0.' + b"1" * 1_000_000 + b"}}",
    "1e999": json.dumps({"features": EXAMPLE | {"price": 7777}}).encode().replace(b"7777", b"1e999"),
    "-1e999": json.dumps({"features": EXAMPLE | {"price": 7777}}).encode().replace(b"7777", b"-1e999"),
    "NaN": json.dumps({"features": EXAMPLE | {"price": 7777}}).encode().replace(b"7777", b"NaN"),
    "Infinity": json.dumps({"features": EXAMPLE | {"price": 7777}}).encode().replace(b"7777", b"Infinity"),
    "a lone surrogate": json.dumps({"features": EXAMPLE | {"store": "zzz"}}).encode().replace(b"zzz", b"\\ud800"),
    "a lone surrogate in a name": json.dumps({"features": EXAMPLE | {"zzz": 1}}).encode().replace(b"zzz", b"\\udc00"),
    "a surrogate as UTF-8": json.dumps({"features": EXAMPLE | {"store": "zzz"}})
    .encode()
    .replace(b"zzz", b"\xed\xa0\x80"),
    "a megabyte of commas": b'{"features": [' + b"," * 1_000_000 + b"]}",
    "a million empty objects": b'{"instances": [' + b"{}," * 1_000_000 + b"{}]}",
}


@pytest.mark.parametrize("route", ["/predict", "/predict/batch", "/explain"])
def test_what_parsers_choke_on_is_refused_cheaply(server, route):
    worst_ms, answers = 0.0, []
    for body in CHOKING.values():
        with server.client() as client:
            content = request("POST", route, body)
            spent = spent_ms(
                server, lambda client=client, content=content: (client.send(content), answers.append(client.answer()))
            )
            worst_ms = max(worst_ms, spent)
    assert {answer.status // 100 for answer in answers} == {4}, [a.status for a in answers]
    assert all(answer.json["error"] for answer in answers), "and never a NaN token"
    bar(20, f"worst processor time of a refusal on {route}, ms", worst_ms, 50, busy=200)


def test_much_of_it_is_refused_without_growing(server):
    before = sum(map(resident_bytes, server.workers()))
    statuses = []
    for _ in range(5):
        with server.client() as client:
            client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    client.send(bytes(1 << 20))
            with contextlib.suppress(OSError, EOFError):
                statuses.append(client.answer().status)
        with server.client() as client:
            with contextlib.suppress(OSError):
                client.send(
                    request("POST", "/predict", b"", ["Transfer-Encoding: chunked"]) + b"1\r\n \r\n" * 1_000_000
                )
            with contextlib.suppress(OSError, EOFError):
                statuses.append(client.answer().status)
    bombs = [gzip.compress(bytes(64 << 20), 9)]
    bombs.append(bombs[0][:-4] + b"\0\1\0\0")
    statuses += [server.ask("POST", "/predict", bomb, ["Content-Encoding: gzip"]).status for bomb in bombs * 5]
    assert statuses
    assert {status // 100 for status in statuses} == {4}
    grown = sum(map(resident_bytes, server.workers())) - before
    # Of two workers, each may keep what one body of the largest size and its inflated form took; one body sent here is larger.
    bar(21, "growth by 100 MiB bodies, 10^6 chunks, gzip 1000:1, MiB", grown / 2**20, 64)


@pytest.mark.parametrize("way", ["slow heads", "slow bodies", "slow readers"])
def test_a_thousand_slow_clients_slow_nobody_down_and_end(path, way):
    n = 1000 if FULL else 100
    resource.setrlimit(
        resource.RLIMIT_NOFILE,
        (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
    )
    first = {
        "slow heads": b"POST /predict HTTP/1.1\r\nHost: a",
        "slow bodies": b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
        "slow readers": request("GET", "/openapi.json") * 400,
    }[way]
    short = [] if FULL else ["--header-timeout", "1", "--request-timeout", "1.5", "--write-timeout", "1.5"]
    with serving(path, workers=2, options=short) as server, contextlib.ExitStack() as opened:
        server.booted(2)
        alone_s = p99_of_others(server, SECONDS)
        slow = []
        for _ in range(n):
            client = opened.enter_context(Client(server.port, receive_bytes=2048 if way == "slow readers" else None))
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.socket.send(first)
            slow.append(client)
        began = time.monotonic()
        # What is measured are clients that are slow, not the flood of answers that fills their buffers first.
        eventually(lambda: answered(server) == (time.sleep(0.1), answered(server))[1], 8, "full buffers")
        beside_s = p99_of_others(server, SECONDS, slow if way != "slow readers" else ())
        left = 1.0
        while (left := server.metrics()["mlrf_open_connections"]) > 2 and time.monotonic() - began < 20:
            drip(slow if way != "slow readers" else ())
            time.sleep(0.2)
        ended_s = time.monotonic() - began
        assert left <= 2
        bar(22, f"{way}: others' p99, times that without them", beside_s / alone_s, 2, busy=1000)
        bar(22, f"{way}: seconds until the last was closed", ended_s, 10, busy=19)
        assert server.troubles == []


def answered(server) -> float:
    return server.metrics()["mlrf_requests_total;route=/openapi.json;status=200"]


def drip(clients) -> None:
    for client in clients:
        with contextlib.suppress(OSError):
            client.socket.send(b"x")


def p99_of_others(server, seconds, slow=()) -> float:
    waits, until = [], time.monotonic() + seconds
    dripped = time.monotonic()
    with server.client() as one, server.client() as two:
        while time.monotonic() < until:
            for client in (one, two):
                began = time.perf_counter()
                assert client.ask("POST", "/predict", BODY).status == 200
                waits.append(time.perf_counter() - began)
            if time.monotonic() - dripped > 0.5:
                drip(slow)
                dripped = time.monotonic()
    return sorted(waits)[int(len(waits) * 0.99)]


TRAVERSAL = [
    "/../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fadmin/models", "/predict/../admin/models", "/models/../admin/models",
    "/models/%2e%2e/predict", "/models/..%2f..%2fmanifest.json/predict", "/./predict/..;/admin/models", "/admin/models",
    "/admin%2fmodels", "/ADMIN/models", "//admin/models", "/admin//models", "/admin/models/", "/admin/models/sample/load",
    "/models/sample%00/predict", "/models/\\..\\predict", "/%c0%ae%c0%ae/etc/passwd", "/..%5c..%5cwindows", "/models/sample/../../admin/models",
    "http://127.0.0.1/admin/models", "http://admin/admin/models", "/predict?/../admin/models", "/static/../../manifest.json", "/.git/config",
]  # fmt: skip
INSIDE = ("Traceback", "site-packages", ".py", "manifest", "forest.bin", "model.onnx", "/usr/", "root:", "Errno")


def series(server):
    """Series but for the status: a status is one of a few."""
    return {
        ";".join(part for part in name.split(";") if not part.startswith(("status=", "code=")))
        for name in server.metrics()
    }


def test_paths_that_are_guessed_find_nothing_and_leave_nothing(server):
    n, chance = (100_000 if FULL else 1_000), random.Random(9)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789/._-%~"
    server.ask("GET", "/nowhere")
    before = series(server)
    allowed, told = [], []
    with server.client() as client:
        paths = TRAVERSAL + ["/" + "".join(chance.choices(letters, k=chance.randint(1, 30))) for _ in range(n)]
        for each in paths:
            for method in ("GET", "POST") if each in TRAVERSAL else ("GET",):
                answer = client.ask(method, each, b"")
                if answer.status < 400 or answer.status >= 500:
                    allowed.append((method, each, answer.status))
                shown = answer.json["error"].replace(each, "")
                told += [(each, word) for word in INSIDE if word in shown]
    new = series(server) - before
    bar(24, f"of {len(paths)} guessed paths: answered", len(allowed), 0)
    bar(24, "new metric series", len(new), 0)
    bar(24, "words of the inside in errors", len(told), 0)
