"""A Redis that stops responding under load, and clients that disconnect: no request hangs, and no client gets another's answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import threading
import time

import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from paced import drive
from raw_http import Client, request
from redis_server import redis_server
from running import eventually, serving

pytestmark = pytest.mark.timing  # latencies under load

FULL = bool(os.environ.get("OPS_FULL"))
SILENT_S, RATE = (20, 1000) if FULL else (1.5, 200)
N_REQUESTS = 50_000 if FULL else 2_000
REFUSED_WITHIN_S = 0.01 if FULL else 0.1
"""Of 99 in 100 refusals, in the server: a loop that other processes keep from the processor refuses late too."""
N_ROWS = 500
N_CLIENTS = 16
EXAMPLE = ALL_KINDS.example()


def features(number):
    return EXAMPLE | {"price": number / 50, "count": number % 7}


@contextlib.contextmanager
def shared_rows(folder, timeout_s):
    """A server with two workers, its Redis, and the right answer to each key."""
    path = write_tree_bundle(folder / "b", key={"id": "integer"}, n_trees=100)
    expected = mlrf.load(path).predict([features(number) for number in range(N_ROWS)]).tolist()
    with redis_server(folder) as redis:
        options = [
            "--features",
            redis.url,
            "--admin",
            f"unix:{folder / 'admin.sock'}",
            "--state-dir",
            str(folder / "s"),
        ]
        options += ["--features-timeout", str(timeout_s)]
        with serving(path, workers=2, options=options) as server:
            rows = [{"key": {"id": number}, "features": features(number)} for number in range(N_ROWS)]
            with Client(folder / "admin.sock") as admin:
                push = lambda: admin.ask("POST", "/admin/models/sample/features", {"rows": rows}).status == 200  # noqa: E731
                eventually(push, 10, "a push")
            yield server, redis, expected


@pytest.mark.timeout(240)
def test_silent_store_is_refused_fast_and_recovers(tmp_path):
    with shared_rows(tmp_path, 0.005 if FULL else 0.05) as (server, redis, expected):
        fall_silent_under_load(server, redis, expected)


def fall_silent_under_load(server, redis, expected):
    def make(number):
        row_id = number * 17 % N_ROWS

        def judge(status, answer):
            if status == 503 and answer["code"] == "FEATURES_UNAVAILABLE":
                return None
            return None if (status, answer.get("prediction")) == (200, expected[row_id]) else f"{status} {answer}"

        return "/predict", json.dumps({"key": {"id": row_id}}).encode(), judge

    def fall_silent():
        redis.freeze()
        time.sleep(SILENT_S)
        redis.thaw()

    silence = threading.Timer(0.5, fall_silent)
    silence.start()
    outcome = drive(server.port, make, rate=RATE, seconds=SILENT_S + 3.5)
    silence.join()
    assert outcome.wrong == []
    assert sum(outcome.statuses.values()) == int(RATE * (SILENT_S + 3.5))
    refused_s = sorted(outcome.in_server_s[503])
    print(f"{dict(outcome.statuses)}; refused in the server: median {refused_s[len(refused_s) // 2] * 1e3:.2f} ms, "
          f"99 % {refused_s[int(0.99 * len(refused_s))] * 1e3:.2f} ms, longest {refused_s[-1] * 1e3:.2f} ms")  # fmt: skip
    assert outcome.statuses[503] >= 0.8 * RATE * SILENT_S
    assert refused_s[int(0.99 * len(refused_s))] < REFUSED_WITHIN_S
    after = drive(server.port, make, rate=RATE / 4, seconds=1)
    assert after.statuses.keys() == {200}
    assert after.wrong == []


async def _client(port, numbers, expected, seed):
    """Request keys on one connection after another, disconnecting midway a fifth of the time; return the errors."""
    chance = random.Random(seed)
    wrong, answered, left = [], 0, 0
    reader = writer = None
    for number in numbers:
        if writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        row_id = number * 31 % N_ROWS
        body = {"key": {"id": row_id}} if number % 3 else {"instances": [{"key": {"id": row_id}}] * 3}
        path = "/predict" if number % 3 else "/predict/batch"
        sent = request("POST", path, body, [f"X-Request-ID: n{number}"])
        if chance.random() < 0.2:
            # Before it is whole, while it is answered, or behind others that wait on the same connection.
            cut = chance.choice([len(sent) // 2, len(sent), len(sent)])
            writer.write((sent * chance.choice([1, 3]))[:cut] if cut < len(sent) else sent * chance.choice([1, 3]))
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.002)
            writer.transport.abort()
            reader = writer = None
            left += 1
            continue
        writer.write(sent)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
            content = json.loads(await reader.readexactly(length))
        answered += 1
        found = content.get("prediction", content.get("predictions"))
        right = expected[row_id] if number % 3 else [expected[row_id]] * 3
        if b"X-Request-ID: n%d\r\n" % number not in head or found != right:
            wrong.append(f"{number}: {head!r} {content}")
    if writer is not None:
        writer.close()
    return wrong, answered, left


@pytest.mark.timeout(240)
def test_disconnect_leaves_no_answer_to_another_client(tmp_path):
    # The clients send as fast as they can and compete with the store for the processor: this does not measure speed.
    with shared_rows(tmp_path, 0.1) as (server, _, expected):
        hang_up_midway(server, expected)


def hang_up_midway(server, expected):
    pids = server.workers()

    async def story():
        parts = [range(first, N_REQUESTS, N_CLIENTS) for first in range(N_CLIENTS)]
        clients = (_client(server.port, part, expected, seed) for seed, part in enumerate(parts))
        return await asyncio.gather(*clients)

    ended = asyncio.run(story())
    answered, left = (sum(each[index] for each in ended) for index in (1, 2))
    wrong = [text for each in ended for text in each[0]]
    unavailable = [text for text in wrong if "FEATURES_UNAVAILABLE" in text]
    print(
        f"{answered} answered, {left} hung up, {len(unavailable)} refused for a late store, {len(wrong)} not answered rightly"
    )
    # A busy machine may delay a look-up beyond its limit: it is then refused, but never wrong.
    assert wrong == unavailable
    assert len(unavailable) <= answered / 100
    assert answered + left == N_REQUESTS
    assert left > N_REQUESTS / 6
    assert server.workers() == pids
    assert [entry for entry in server.log if entry["level"] == "error"] == []
    eventually(lambda: server.metrics()["mlrf_open_connections"] <= 1, 10, "the connections gone")
