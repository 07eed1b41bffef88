"""Log events: one line each, whatever their content."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading

from mlrf.core.errors import FeaturesUnavailableError
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.processes.arbiter import SlotArbiter
from mlrf.serving.telemetry.logs import ArbiterLog, Log


def test_non_utf8_path_is_logged(tmp_path):
    reading, writing = os.pipe()
    Log(descriptor=writing).warning("pointer not read", reason=os.fsdecode(b"models/a\xff: gone\nnow"))
    os.close(writing)
    with os.fdopen(reading) as lines:
        (line,) = lines
    document = json.loads(line)
    assert (document["event"], document["reason"]) == ("pointer not read", "models/a\\udcff: gone\nnow")


def test_hanging_pipe_reader_delays_nothing():
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writing, True)
        telling = threading.Thread(target=Log(descriptor=writing).warning, args=("worker ended",), daemon=True)
        telling.start()
        telling.join(120)
        assert not telling.is_alive()
        assert b"worker" not in os.read(reading, 1 << 20)
        Log(descriptor=writing).warning("worker ended")
        assert b"worker ended" in os.read(reading, 1 << 20)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_worker_that_the_arbiter_killed_is_not_said_to_lack_memory(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr(ArbiterLog, "log", Log(descriptor=writing))
    arbiter = object.__new__(SlotArbiter)
    arbiter.log, arbiter._stats = ArbiterLog(None), {"workers_killed": 0}
    with subprocess.Popen(["sleep", "60"]) as silent, subprocess.Popen(["sleep", "60"]) as other:
        arbiter.kill_worker(other.pid, signal.SIGTERM)
        arbiter.kill_worker(silent.pid, signal.SIGKILL)
        assert silent.wait() == -signal.SIGKILL
    for each in (silent, other):
        arbiter.log.error("Worker (pid:%s) was sent %s! Perhaps out of memory?", each.pid, "SIGKILL")
    os.close(writing)
    with os.fdopen(reading) as lines:
        messages = [json.loads(line)["message"] for line in lines]
    assert messages == [
        f"Worker (pid:{silent.pid}) was sent SIGKILL!",
        f"Worker (pid:{other.pid}) was sent SIGKILL! Perhaps out of memory?",
    ]


def test_what_a_feature_store_said_is_logged_and_not_answered():
    reading, writing = os.pipe()
    encode = ErrorEncoder(Log(descriptor=writing))
    for _ in range(2):  # the second within the same second
        error = FeaturesUnavailableError("the feature store refused the command", reason="MOVED 3999 10.0.0.5:6381")
        status, body, _headers = encode(error, b"abc")
    os.close(writing)
    with os.fdopen(reading) as written:
        (line,) = map(json.loads, written)
    assert (status, json.loads(body)) == (
        503,
        {
            "error": "the feature store refused the command",
            "code": "FEATURES_UNAVAILABLE",
            "details": {},
            "request_id": "abc",
        },
    )
    assert (line["event"], line["request_id"]) == ("feature store failed", "abc")
    assert line["reason"] == "the feature store refused the command: MOVED 3999 10.0.0.5:6381"
