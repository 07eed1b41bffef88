"""The prediction log as Parquet: every record once, in files that other tools read, after kills and damage too."""

from __future__ import annotations

import fcntl
import json
import os
import signal

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from bundles import write_stump_bundle
from mlrf.core.errors import ConfigError
from mlrf.model.logged_predictions import read_log
from mlrf.serving.config.loader import read_settings
from mlrf.serving.telemetry import parquet_parts, settings
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.parquet_converter import ParquetConverter
from mlrf.serving.telemetry.prediction_log import PredictionLog, PredictionRecord
from running import eventually, serving

ANSWER = b'{"prediction":0.1,"model":"sample","version":"0123456789ab","cached":false}'


def predicted(number, size=100):
    body = b'{"features":{"note":"%b","n":%d}}' % ("ä".encode() * size, number)
    return PredictionRecord(1.75e9 + number * 0.001, b"r%d" % number, "/predict", 1.5e-3, body, ANSWER)


def write_lines(folder, name, numbers, end=b""):
    """A file of JSON lines as a killed worker leaves it: unlocked, perhaps with the begin of a line."""
    log = PredictionLog(folder, 0, 1 << 20, 100, Log("critical"))
    for number in numbers:
        log.put(predicted(number))
    log.close(30.0)
    (written,) = folder.glob("predictions-2*.jsonl")
    path = written.rename(folder / f"predictions-{name}.jsonl")
    with path.open("ab") as file:
        file.write(end)
    return path


def numbers_in(folder):
    return sorted(int(each.request_id[1:]) for each in read_log(folder))


def test_each_complete_file_becomes_a_part(tmp_path):
    log = PredictionLog(tmp_path, 0, 2000, 1000, Log("critical"), ParquetConverter(tmp_path, Log("critical")))
    for number in range(40):
        log.put(predicted(number))
    log.close(60.0)
    # A conversion that was running when the last file ended may have left it to the next one.
    assert parquet_parts.main(tmp_path) == 0
    assert not list(tmp_path.glob("*.jsonl"))
    assert len(files := list(tmp_path.iterdir())) >= 4
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}
    assert numbers_in(tmp_path) == list(range(40))


def test_a_part_has_what_the_lines_had_and_other_tools_read_it(tmp_path):
    path = write_lines(tmp_path, "x", range(3))
    by_key = json.loads(path.read_text().splitlines()[0]) | {"features": {"price": 1.0}, "request_id": "r3"}
    with path.open("a") as file:
        file.write(json.dumps(by_key) + "\n")
    before = list(read_log(path))
    parquet_parts.convert(path)
    part = path.with_suffix(".parquet")
    assert list(read_log(tmp_path)) == list(read_log(part)) == before
    assert [each.has_features for each in before] == [False, False, False, True]
    columns = "request_id, model, version, request->>'$.features.n', features->>'$.price'"
    found = duckdb.read_parquet(str(part)).order("request_id").project(columns).fetchall()
    assert found[2][:3] == ("r2", "sample", "0123456789ab")
    assert found[2][3:] == ("2", None)
    assert found[3][4] == "1.0"
    assert pl.read_parquet(part)["ms"].to_list() == pd.read_parquet(part)["ms"].to_list() == [1.5] * 4
    assert pq.read_schema(part).field("time").type.tz == "UTC"


def test_what_a_killed_worker_left_is_converted_but_for_its_end(tmp_path):
    write_lines(tmp_path, "a", range(5), end=b'{"time": "20')
    assert parquet_parts.main(tmp_path) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["predictions-a.parquet"]
    assert numbers_in(tmp_path) == list(range(5))


def test_a_kill_while_converting_loses_and_doubles_nothing(tmp_path, monkeypatch):
    path = write_lines(tmp_path, "a", range(5))

    class KilledError(BaseException):
        pass

    def die(*_):
        raise KilledError

    for moment in ("sync_directory", "_write"):
        monkeypatch.setattr(parquet_parts, moment, die)
        with pytest.raises(KilledError):
            parquet_parts.main(tmp_path)
        monkeypatch.undo()
        assert path.exists()
        assert numbers_in(tmp_path) == list(range(5))
    (tmp_path / ".predictions-a.parquet.writing-4194999").write_bytes(b"PAR1")
    assert parquet_parts.main(tmp_path) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["predictions-a.parquet"]
    assert numbers_in(tmp_path) == list(range(5))


def test_files_in_use_stay_lines(tmp_path):
    path = write_lines(tmp_path, "a", range(5))
    (tmp_path / "predictions-b.jsonl").touch()  # a worker is about to lock it
    with path.open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        assert parquet_parts.main(tmp_path) == 0
        assert parquet_parts.complete_files(tmp_path) == []
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".jsonl", ".jsonl"]


def test_a_damaged_file_stays_and_is_reported_once(tmp_path, capfd):
    write_lines(tmp_path, "b", range(5))
    (tmp_path / "predictions-a.jsonl").write_text("no record\n")
    converter = ParquetConverter(tmp_path, Log("warning"))
    for _ in range(2):
        converter.finish(60.0)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (warned,) = [each for each in lines if each["event"] == "prediction log not converted"]
    assert "predictions-a.jsonl: line 1 is not a record" in warned["reason"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["predictions-a.jsonl", "predictions-b.parquet"]


def test_both_forms_count_as_files(tmp_path):
    for name in "abc":
        parquet_parts.convert(write_lines(tmp_path, f"2000{name}", [0]))
    log = PredictionLog(tmp_path, 0, 1 << 20, 3, Log("critical"), ParquetConverter(tmp_path, Log("critical")))
    log.put(predicted(1))
    log.close(60.0)
    assert [each.name for each in sorted(tmp_path.iterdir())][:2] == [
        "predictions-2000b.parquet",
        "predictions-2000c.parquet",
    ]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_killed_server_loses_no_record_that_was_written(tmp_path):
    bundle, log = write_stump_bundle(tmp_path / "sample"), tmp_path / "log"
    log.mkdir()
    options = ["--prediction-log", str(log), "--prediction-log-format", "parquet"]
    with serving(bundle, options=options) as server:
        example = server.ask("GET", "/openapi.json").json
        row = example["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
        for number in range(20):
            assert server.ask("POST", "/predict", row, [f"X-Request-ID: r{number}"]).status == 200
        eventually(lambda: server.metrics()["mlrf_prediction_log_records_total"] == 20, what="20 records")
        for each in (server.process.pid, *server.workers()):
            os.kill(each, signal.SIGKILL)
    assert [each.suffix for each in log.iterdir()] == [".jsonl"]
    assert numbers_in(log) == list(range(20))
    with serving(bundle, options=options) as server:
        server.ask("POST", "/predict", row, ["X-Request-ID: r20"])
        eventually(lambda: list(log.glob("*.parquet")), what="the part of the killed worker's records")
    assert numbers_in(log) == list(range(21))


def test_parquet_needs_pyarrow(monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    with pytest.raises(
        ConfigError, match=r"--prediction-log-format: Parquet needs pyarrow: pip install 'mlrf\[score\]'"
    ):
        read_settings(["bundle", "--prediction-log-format", "parquet"], {})
