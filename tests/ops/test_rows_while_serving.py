"""Rows pushed while they are requested: every answer is from one version of its rows, and none older than the acknowledged one.

`make ops` runs it with the planned duration and rate; otherwise a short version shows that versions are not mixed.
"""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from paced import drive
from raw_http import Client
from running import serving

pytestmark = pytest.mark.timing  # latencies under load

FULL = bool(os.environ.get("OPS_FULL"))
SECONDS, RATE, ROWS_A_PUSH, PUSHES_A_SECOND = (30, 2000, 1000, 10) if FULL else (3, 250, 200, 5)
N_CHUNKS = 10
NAMES = [f"x{i}" for i in range(27)]
SCHEMA = Schema(tuple(Feature(name, example=0.5) for name in NAMES))


def features(version):
    """A row whose every feature contains its version."""
    return {"x0": float(version)} | {n: ((version * 37 + i) % 997) / 250 - 2 for i, n in enumerate(NAMES[1:])}


def push_body(chunk, version):
    named = json.dumps(features(version))
    rows = (f'{{"key":{{"id":{chunk * ROWS_A_PUSH + n}}},"features":{named}}}' for n in range(ROWS_A_PUSH))
    return ('{"rows":[' + ",".join(rows) + "]}").encode()


class Pusher(threading.Thread):
    """Pushes chunk after chunk at a steady rate; `acknowledged` is the version of each that every worker must serve."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.client = Client(path)
        self.acknowledged = [0] * N_CHUNKS
        self.pushed = 0
        self.faults = []
        self.stopped = threading.Event()
        for chunk in range(N_CHUNKS):
            self.push(chunk)

    def push(self, chunk):
        version = self.acknowledged[chunk] + 1
        answer = self.client.ask("POST", "/admin/models/sample/features", push_body(chunk, version))
        if answer.status != 200 or answer.json["written"] != ROWS_A_PUSH:
            self.faults.append(answer.body)
            return
        self.acknowledged[chunk] = version
        self.pushed += ROWS_A_PUSH

    def run(self):
        began, n = time.monotonic(), 0
        while not self.stopped.wait(max(0.0, began + n / PUSHES_A_SECOND - time.monotonic())):
            self.push(n % N_CHUNKS)
            n += 1
        self.client.socket.close()


@pytest.mark.timeout(240)
def test_every_answer_is_of_one_version_of_its_rows(tmp_path):
    path = write_tree_bundle(tmp_path / "b", schema=SCHEMA, key={"id": "integer"}, n_trees=60)
    model = mlrf.load(path)
    seen = {}
    admin = tmp_path / "admin.sock"
    options = ["--state-dir", str(tmp_path / "state"), "--admin", f"unix:{admin}"]
    with serving(path, workers=2, options=options) as server:
        pusher = Pusher(admin)

        def versions_of(chunk, least, answers):
            """The errors of answers that must be of one version, not older than `least`."""
            versions = {answer[0]["x0"] for answer in answers}
            if len(versions) != 1 or min(versions) < least:
                return f"versions {versions} of chunk {chunk}, acknowledged was {least}"
            for row, prediction in answers:
                if row != features(int(row["x0"])):
                    return f"a row of several versions: {row}"
                if seen.setdefault(row["x0"], prediction) != prediction:
                    return f"two predictions of one row: {prediction}"
            return None

        def make(number):
            chunk = (number * 7) % N_CHUNKS
            least = pusher.acknowledged[chunk]
            ids = [chunk * ROWS_A_PUSH + (number * 13 + n * 29) % ROWS_A_PUSH for n in range(4)]
            if number % 5:
                body = {"key": {"id": ids[0]}, "return_features": True}

                def judge(status, answer):
                    if status != 200:
                        return f"{status} {answer}"
                    return versions_of(chunk, least, [(answer["features"], answer["prediction"])])

                return "/predict", json.dumps(body).encode(), judge
            batch = {"instances": [{"key": {"id": each}} for each in ids], "return_features": True}

            def judge_all(status, answer):
                if status != 200:
                    return f"{status} {answer}"
                return versions_of(chunk, least, list(zip(answer["features"], answer["predictions"], strict=True)))

            return "/predict/batch", json.dumps(batch).encode(), judge_all

        pusher.start()
        outcome = drive(server.port, make, rate=RATE, seconds=SECONDS)
        pusher.stopped.set()
        pusher.join(15)
        assert server.troubles == []
    pushed_a_second = pusher.pushed / SECONDS
    p99_ms = outcome.percentile_s(0.99) * 1e3
    print(f"{sum(outcome.statuses.values())} answers, {pushed_a_second:.0f} rows/s pushed, p99 {p99_ms:.2f} ms")
    assert outcome.wrong == []
    assert outcome.statuses == {200: RATE * SECONDS}
    assert pusher.faults == []
    assert len(seen) > 1
    assert pushed_a_second >= 0.5 * ROWS_A_PUSH * PUSHES_A_SECOND
    expected = model.predict([features(int(version)) for version in seen])
    assert list(seen.values()) == expected.tolist()


def test_no_answer_that_was_kept_outlives_a_push(tmp_path):
    """Every key is requested until its answer is cached; after a push is acknowledged no cached answer is reused."""
    n_keys = 10_000 if FULL else 500
    path = write_tree_bundle(tmp_path / "b", schema=SCHEMA, key={"id": "integer"}, n_trees=20)
    model = mlrf.load(path)
    admin = tmp_path / "admin.sock"
    options = ["--state-dir", str(tmp_path / "state"), "--admin", f"unix:{admin}", "--cache", "64MiB"]
    bodies = [json.dumps({"key": {"id": n}}).encode() for n in range(n_keys)]
    with serving(path, workers=2, options=options) as server, Client(admin) as pushing, server.client() as client:
        for version in range(1, 4):
            named = json.dumps(features(version))
            rows = ",".join(f'{{"key":{{"id":{n}}},"features":{named}}}' for n in range(n_keys))
            answer = pushing.ask("POST", "/admin/models/sample/features", b'{"rows":[%b]}' % rows.encode())
            assert answer.json["written"] == n_keys
            right = float(model.predict([features(version)])[0])
            for turn in range(3):
                answers = [client.ask("POST", "/predict", body).json for body in bodies]
                assert {each["prediction"] for each in answers} == {right}
                if turn == 0:
                    assert not any(each["cached"] for each in answers)
            assert sum(each["cached"] for each in answers) > 0.9 * n_keys
