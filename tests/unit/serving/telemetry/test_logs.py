"""Log events: one line each, whatever their content."""

from __future__ import annotations

import json
import os
import threading

from mlrf.serving.telemetry.logs import Log


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
