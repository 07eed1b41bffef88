"""Rows of a Redis that fails in every way a Redis fails: refusals at once, never a wrong answer, and well again by itself."""

from __future__ import annotations

import json
import socket
import time

import pytest
from redis import from_url

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from paced import drive
from raw_http import Client
from redis_server import RedisServer, redis_server
from running import Server, eventually, serving

pytestmark = pytest.mark.timing  # latencies while the store is silent

EXAMPLE = ALL_KINDS.example()
KEY = {"id": "integer"}
N_ROWS = 40
WELL_AGAIN_S = 5.0
PATIENCE_S = 0.5
"""How long a refusal may take on a machine that does other things too; `make ops` holds it to 10 ms."""


def features(number):
    return EXAMPLE | {"price": number / 4, "count": number}


class Shared:
    """A server whose rows are in Redis, and what its model says of each of them."""

    def __init__(self, server: Server, redis: RedisServer, admin_path, expected):
        self.server = server
        self.redis = redis
        self.admin_path = admin_path
        self.expected = expected

    def push(self):
        rows = [{"key": {"id": number}, "features": features(number)} for number in range(N_ROWS)]
        with Client(self.admin_path) as admin:
            return admin.ask("POST", "/admin/models/sample/features", {"rows": rows})

    def make(self, number):
        """A request and who judges its answer: of a key, of a batch, or of features, which no store is asked for."""
        ids = [(number * 7 + n) % N_ROWS for n in range(3)]
        if number % 4 == 0:
            body, path = {"features": features(ids[0])}, "/predict"
        elif number % 4 == 1:
            body, path = {"instances": [{"key": {"id": each}} for each in ids]}, "/predict/batch"
        else:
            body, path = {"key": {"id": ids[0]}}, "/predict"

        def judge(status, answer):
            if status == 503 and number % 4 and answer["code"] in ("FEATURES_UNAVAILABLE", "INVALID_STORED_ROW"):
                return None
            expected = [self.expected[each] for each in ids]
            found = answer.get("predictions", [answer.get("prediction"), *expected[1:]])
            return None if (status, found) == (200, expected) else f"{status} {answer}"

        return path, json.dumps(body).encode(), judge

    def load(self, seconds=0.4):
        outcome = drive(self.server.port, self.make, rate=200, seconds=seconds, connections=8)
        assert outcome.wrong == []
        return outcome

    def answers(self):
        """Whether every worker answers by key: of so many new connections, each takes some."""
        return all(self.server.ask("POST", "/predict", {"key": {"id": 3}}).status == 200 for _ in range(24))

    def is_refused(self, code="FEATURES_UNAVAILABLE"):
        """Whether a request by key is refused, quickly, while one with features is answered."""
        with self.server.client() as client:
            began = time.monotonic()
            refused = client.ask("POST", "/predict", {"key": {"id": 3}})
            elapsed_s = time.monotonic() - began
            assert client.ask("POST", "/predict", {"features": features(3)}).json["prediction"] == self.expected[3]
        if refused.status == 200:
            return False
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, code, "1")
        assert elapsed_s < PATIENCE_S
        return True

    def readiness(self):
        answer = self.server.ask("GET", "/readyz")
        assert (answer.status, answer.json["status"]) == (200, "ready")
        return answer.json["by_key"]["sample"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    path = write_tree_bundle(folder / "b", key=KEY)
    model = mlrf.load(path)
    expected = model.predict([features(number) for number in range(N_ROWS)]).tolist()
    with redis_server(folder) as redis:
        options = ["--features", redis.url, "--features-timeout", "0.1", "--admin", f"unix:{folder / 'admin.sock'}"]
        with serving(path, workers=2, options=[*options, "--state-dir", str(folder / "state")]) as server:
            yield Shared(server, redis, folder / "admin.sock", expected)


@pytest.fixture
def shared(running):
    pids = running.server.workers()
    eventually(lambda: running.push().status == 200, WELL_AGAIN_S, "a push")
    eventually(running.answers, WELL_AGAIN_S, "answers by key")
    yield running
    assert running.server.workers() == pids
    assert [entry for entry in running.server.log if entry["level"] == "error"] == []


def well_again(shared):
    eventually(shared.answers, WELL_AGAIN_S, "answers by key again")
    assert set(shared.load().statuses) == {200}


def test_answers_are_those_of_the_rows(shared):
    assert set(shared.load().statuses) == {200}
    assert shared.readiness() == "ready"
    assert shared.server.ask("POST", "/predict", {"key": {"id": 99}}).code == "KEY_NOT_FOUND"
    answer = shared.server.ask("POST", "/explain", {"key": {"id": 1}, "return_features": True}).json
    assert answer["features"] == features(1)


def test_no_answer_is_kept_of_a_store_that_others_write_to(shared):
    body = {"key": {"id": 3}, "return_features": True}
    for price in (1.0, 2.0, 3.0):
        row = {"key": {"id": 3}, "features": EXAMPLE | {"price": price}}
        with Client(shared.admin_path) as admin:
            assert admin.ask("POST", "/admin/models/sample/features", {"rows": [row]}).status == 200
        answers = [shared.server.ask("POST", "/predict", body).json for _ in range(8)]
        assert {answer["features"]["price"] for answer in answers} == {price}
        assert {answer["cached"] for answer in answers} == {False}


def test_killed_and_started_again(shared):
    shared.redis.kill()
    eventually(shared.is_refused, WELL_AGAIN_S)
    assert set(shared.load().statuses) <= {200, 503}
    assert shared.readiness().startswith("not ready: ")
    assert shared.push().code == "FEATURES_UNAVAILABLE"
    shared.redis.start()
    eventually(lambda: shared.push().status == 200, WELL_AGAIN_S, "a push")
    well_again(shared)


def test_frozen(shared):
    shared.redis.freeze()
    try:
        outcome = shared.load()
        assert outcome.statuses[503] > 0
        assert outcome.percentile_s(0.99) < PATIENCE_S
        assert shared.is_refused()
    finally:
        shared.redis.thaw()
    well_again(shared)


def test_connections_reset_again_and_again(shared):
    for _ in range(5):
        ask_redis(shared.redis, "CLIENT", "KILL", "TYPE", "normal")
        shared.load(0.1)
    well_again(shared)


def test_full(shared):
    try:
        ask_redis(shared.redis, "CONFIG", "SET", "maxmemory", "1")
        assert shared.push().code == "FEATURES_UNAVAILABLE"
        assert set(shared.load().statuses) == {200}
    finally:
        ask_redis(shared.redis, "CONFIG", "SET", "maxmemory", "0")
    eventually(lambda: shared.push().status == 200, WELL_AGAIN_S)


def test_read_only(shared):
    try:
        ask_redis(shared.redis, "CONFIG", "SET", "min-replicas-to-write", "3")
        assert shared.push().code == "FEATURES_UNAVAILABLE"
        assert set(shared.load().statuses) == {200}
    finally:
        ask_redis(shared.redis, "CONFIG", "SET", "min-replicas-to-write", "0")
    eventually(lambda: shared.push().status == 200, WELL_AGAIN_S)


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 80, "cut", "flipped", "swapped"], ids=str)
def test_corrupt_values_are_not_answers(shared, damage):
    (name,) = list(ask_redis(shared.redis, "KEYS", "mlrf:*:rows"))
    fields = ask_redis(shared.redis, "HKEYS", name)
    sound = {field: ask_redis(shared.redis, "HGET", name, field) for field in fields}
    for index, (field, value) in enumerate(sound.items()):
        match damage:
            case "cut":
                bad = value[: 5 + index]
            case "flipped":
                bad = value[:index] + bytes([value[index] ^ 1]) + value[index + 1 :]
            case "swapped":
                bad = sound[fields[(index + 1) % len(fields)]]
            case _:
                bad = damage
        ask_redis(shared.redis, "HSET", name, field, bad)
    try:
        assert set(shared.load().statuses) == {200, 503}
        assert shared.is_refused("INVALID_STORED_ROW")
    finally:
        ask_redis(shared.redis, "DEL", name)
        assert shared.push().status == 200
    well_again(shared)


def test_rows_of_another_kind_in_their_place(shared):
    (name,) = list(ask_redis(shared.redis, "KEYS", "mlrf:*:rows"))
    ask_redis(shared.redis, "SET", name, "not a hash")
    try:
        assert shared.is_refused()
        assert set(shared.load().statuses) <= {200, 503}
    finally:
        ask_redis(shared.redis, "DEL", name)
        eventually(lambda: shared.push().status == 200, WELL_AGAIN_S)
    well_again(shared)


def test_store_down_at_start_delays_no_request(tmp_path):
    path = write_tree_bundle(tmp_path / "b", key=KEY)
    expected = mlrf.load(path).predict([features(number) for number in range(N_ROWS)]).tolist()
    with redis_server(tmp_path) as redis:
        redis.kill()
        options = ["--features", redis.url, "--admin", f"unix:{tmp_path / 'a'}", "--state-dir", str(tmp_path / "state")]
        with serving(path, options=[*options, "--features-timeout", "0.1"]) as server:
            shared = Shared(server, redis, tmp_path / "a", expected)
            assert shared.readiness().startswith("not ready: ")
            assert shared.is_refused()
            redis.start()
            eventually(lambda: shared.push().status == 200, WELL_AGAIN_S, "a push")
            well_again(shared)
            assert shared.readiness() == "ready"


def test_unreachable_store_delays_no_request(tmp_path):
    """A port that takes connections and never answers: what a firewall that drops packets looks like to a client."""
    path = write_tree_bundle(tmp_path / "b", key=KEY)
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(64)
        url = f"redis://127.0.0.1:{hole.getsockname()[1]}/0"
        options = ["--features", url, "--features-timeout", "0.05", "--state-dir", str(tmp_path / "state")]
        with serving(path, options=options) as server:
            expected = [
                server.ask("POST", "/predict", {"features": features(n)}).json["prediction"] for n in range(N_ROWS)
            ]
            shared = Shared(server, None, None, expected)
            for _ in range(3):
                assert shared.is_refused()
            assert set(shared.load().statuses) == {200, 503}
            assert shared.readiness().startswith("not ready: ")


def ask_redis(redis, *command):
    """One command to the redis-server itself, by a client of its own."""
    from redis import Redis  # noqa: PLC0415  an extra

    with Redis(unix_socket_path=str(redis.socket)) as client:
        return client.execute_command(*command)


def test_a_worker_has_reached_the_store_before_its_first_request(tmp_path):
    path = write_tree_bundle(tmp_path / "b", key=KEY)
    with redis_server(tmp_path) as redis:
        options = ["--features", redis.url, "--state-dir", str(tmp_path / "state")]
        alive = lambda server: server.ask("GET", "/healthz").status == 200  # noqa: E731
        with serving(path, options=options, is_ready=alive), from_url(redis.url) as client:
            others = lambda: len(client.client_list()) > 1  # noqa: E731
            eventually(others, 10, "a connection")
