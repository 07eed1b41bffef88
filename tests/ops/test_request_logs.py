"""Logs of requests: complete, in JSON, bounded, and never at the cost of an answer."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
from contextlib import contextmanager

import msgspec
import pytest

from api_keys import mlrf_keys
from bundles import write_stump_bundle
from mlrf.serving.telemetry.log_thread import LogThread
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.prediction_log import PredictionLog, PredictionRecord
from raw_http import Client, request
from running import Server, command, eventually, serving

ROW = {"features": [1.5, True, "red", 2]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_stump_bundle(tmp_path_factory.mktemp("logged") / "sample")


@pytest.fixture(scope="module")
def row(bundle):
    with serving(bundle) as server:
        openapi = server.ask("GET", "/openapi.json").json
    return openapi["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]


def requests_in(log):
    return [entry for entry in log if entry["event"] == "request"]


def records(folder):
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


def test_the_access_log_has_a_line_an_answer(bundle, row):
    with serving(bundle, options=["--access-log-rate", "1"]) as server:
        with server.client() as client:
            host, port = client.socket.getsockname()
            answer = client.ask("POST", "/predict", row, ["X-Request-ID: mine"])
            client.ask("GET", "/nowhere?a=b")
            client.ask("POST", "/predict", {})
        server.ask("GE T", "/")
        lines = eventually(lambda: len(found := logged_by_us(server)) >= 4 and found, what="four lines")
    first, unknown, invalid, unreadable = lines
    assert first == first | {
        "level": "info", "request_id": "mine", "client": f"{host}:{port}", "method": "POST", "target": "/predict",
        "route": "/predict", "status": 200, "request_bytes": len(json.dumps(row)), "answer_bytes": len(answer.body),
    }  # fmt: skip
    assert 0 < first["ms"] < 60_000
    assert (unknown["route"], unknown["target"], unknown["status"]) == ("other", "/nowhere?a=b", 404)
    assert (invalid["route"], invalid["status"]) == ("/predict", 422)
    assert (unreadable["method"], unreadable["status"]) == ("", 400)


def test_requests_that_are_refused_by_their_heads_are_logged_with_their_targets(bundle, tmp_path):
    mlrf_keys(tmp_path / "keys", "--add", "one", "--scope", "predict")
    options = ["--access-log-rate", "1", "--keys", str(tmp_path / "keys"), "--max-body-bytes", "4096"]
    with serving(bundle, options=options) as server:
        server.ask("GET", "/models?a=b")
        server.ask("POST", "/predict", {})
        server.ask("PUT", "/predict", b"x" * 5000)
        lines = eventually(lambda: len(found := logged_by_us(server)) >= 3 and found, what="three lines")
    assert [(line["method"], line["target"], line["status"]) for line in lines] == [
        ("GET", "/models?a=b", 401),
        ("POST", "/predict", 401),
        ("PUT", "/predict", 413),
    ]


def logged_by_us(server):
    return [entry for entry in requests_in(server.log) if entry["route"] != "/readyz"]


def test_by_default_no_request_is_logged(bundle, row):
    with serving(bundle) as server:
        for _ in range(50):
            server.ask("POST", "/predict", row)
    assert requests_in(server.log) == []


def test_what_was_answered_last_is_still_logged(bundle, row):
    with serving(bundle, workers=2, options=["--access-log-rate", "1"]) as server:
        for number in range(100):
            server.ask("POST", "/predict", row, [f"X-Request-ID: last-{number}"])
        server.process.terminate()
        assert server.wait() == 0
    logged = {entry["request_id"] for entry in requests_in(server.log)}
    assert {f"last-{number}" for number in range(100)} <= logged
    assert [entry for entry in server.log if entry["event"] == "not JSON"] == []


def test_the_prediction_log_has_request_and_answer(bundle, row, tmp_path):
    body = json.dumps(row, indent=1).encode()
    with serving(bundle, options=["--prediction-log", str(tmp_path)]) as server:
        one = server.ask("POST", "/predict", body, ["X-Request-ID: one"])
        server.ask("POST", "/predict", gzip.compress(body), ["Content-Encoding: gzip", "X-Request-ID: two"])
        many = server.ask("POST", "/predict/batch", {"instances": [row, row]})
        server.ask("POST", "/predict", {})
        server.ask("GET", "/healthz")
        eventually(lambda: server.metrics()["mlrf_prediction_log_records_total"] == 3, what="three records")
    first, second, batch = records(tmp_path)
    assert (first["request_id"], first["route"], first["request"], first["answer"]) == (
        "one",
        "/predict",
        row,
        one.json,
    )
    assert (second["request_id"], second["request"], second["answer"]) == ("two", row, one.json)
    assert (batch["route"], batch["answer"]) == ("/predict/batch", many.json)
    assert first["time"].endswith("Z")
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


@contextmanager
def limited_server(bundle, folder, n_kib):
    """A server with a file size limit in KiB, which looks like a full disk to it."""
    options = ["--port", "0", "--workers", "1", "--prediction-log", str(folder)]
    limited = ["bash", "-c", f'ulimit -f {n_kib}; exec "$@"', "-", *command([bundle], *options)]
    process = subprocess.Popen(limited, stderr=subprocess.PIPE)
    server = Server(process)
    try:
        server.find_address()
        eventually(server.is_ready)
        yield server
    finally:
        process.terminate()
        process.wait()
        server.join()


def test_a_full_disk_costs_records_and_no_answer(bundle, row, tmp_path):
    with limited_server(bundle, tmp_path, 20) as server:
        with server.client() as client:
            for _ in range(300):
                assert client.ask("POST", "/predict", row).status == 200
        counted = eventually(
            lambda: (
                (m := server.metrics())["mlrf_prediction_log_records_total"] + m["mlrf_prediction_log_dropped_total"]
                == 300
                and m
            ),
            what="every record written or dropped",
        )
        warned = [entry for entry in server.log if entry["event"] == "prediction log cannot be written"]
    assert counted["mlrf_prediction_log_dropped_total"] > 0
    assert len(records(tmp_path)) == counted["mlrf_prediction_log_records_total"] > 0
    assert len(warned) == 1


def predicted(size=100):
    return PredictionRecord(
        time.time(), b"id", "/predict", 1e-3, b'{"features":"%b"}' % (b"x" * size), b'{"prediction":1}'
    )


def test_files_are_bounded_in_number_and_size(tmp_path):
    logs = [PredictionLog(tmp_path, slot, 2000, 3, Log("critical")) for slot in range(2)]
    for _ in range(200):
        for log in logs:
            log.put(predicted())
    for log in logs:
        log.close(10.0)
        written, dropped = log.take_counts()
        assert (written, dropped) == (200, 0)
    files = list(tmp_path.iterdir())
    assert len(files) <= 3
    assert all(0 < file.stat().st_size <= 2000 for file in files)
    assert len(records(tmp_path)) >= 20


def test_a_file_that_was_removed_is_followed_by_another(tmp_path):
    log = PredictionLog(tmp_path, 0, 1 << 20, 4, Log("error"))
    log.put(predicted())
    log.flush()
    eventually(lambda: log.take_counts() == (1, 0), what="the first line")
    (first,) = tmp_path.iterdir()
    first.unlink()
    log.put(predicted())
    log.close(5.0)
    assert len(records(tmp_path)) == 1


def test_a_body_that_cannot_be_kept_costs_its_own_record_alone(tmp_path):
    log = PredictionLog(tmp_path, 0, 1 << 20, 4, Log("error"))
    for body in (gzip.compress(b" " * (65 << 20), 1), b'{"cut":\n', b"\x1f\x8bno gzip"):
        log.put(msgspec.structs.replace(predicted(), body=body))
    log.put(predicted())
    log.close(20.0)
    assert (log.take_counts(), len(records(tmp_path))) == ((1, 3), 1)


class Unspeakable:
    def as_json(self, _body, _answer):
        raise OverflowError


def test_unloggable_request_loses_only_its_own_record(tmp_path):
    log = PredictionLog(tmp_path, 0, 1 << 20, 4, Log("error"))
    log.put(msgspec.structs.replace(predicted(), transcriber=Unspeakable()))
    log.put(predicted())
    log.close(20.0)
    assert (log.take_counts(), len(records(tmp_path))) == ((1, 1), 1)


def test_files_of_others_and_those_in_use_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    first = PredictionLog(tmp_path, 0, 1000, 2, Log("critical"))
    first.put(predicted())
    first.flush()
    (locked,) = eventually(lambda: list(tmp_path.glob("*.jsonl")))
    second = PredictionLog(tmp_path, 1, 1000, 2, Log("critical"))
    for _ in range(50):
        second.put(predicted(800))
    second.close(10.0)
    assert locked.exists()
    assert (tmp_path / "mine.txt").exists()
    first.close(10.0)


def test_log_records_beyond_capacity_are_dropped_and_counted():
    reading, writing = os.pipe()
    stuck = LogThread[bytes]("test", lambda batch: (os.read(reading, 1), 0)[1], max_records=300, max_bytes=10_000)
    for _ in range(1000):
        stuck.put(b"x", 10)
    assert stuck.take_counts() == (0, 700)
    big = LogThread[bytes]("test", lambda batch: 0, max_records=300, max_bytes=10_000)
    big.put(b"x", 10_001)
    assert big.take_counts() == (0, 1)
    os.write(writing, b"12345678")
    stuck.close(5.0)
    assert stuck.take_counts() == (300, 0)
    big.close(5.0)
    os.close(reading)
    os.close(writing)


def test_unread_log_delays_no_answer(bundle):
    options = ["--port", "0", "--workers", "1", "--access-log-rate", "1"]
    process = subprocess.Popen(command([bundle], *options), stderr=subprocess.PIPE)
    try:
        # The pipe is not read from here on. It holds 64 KiB; a thousand lines are more.
        port = int(json.loads(process.stderr.readline())["url"].rpartition(":")[2])
        asking = request("GET", "/" + "x" * 900) * 50
        with eventually(lambda: connected(port)) as client:
            for _ in range(20):
                client.send(asking)
                assert [client.answer().status for _ in range(50)] == [404] * 50
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def connected(port):
    try:
        return Client(port)
    except OSError:
        return None
