"""A terminated command says so, cleans up, and exits with the status that a shell expects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading

import lightgbm as lgb
import numpy as np
import pytest

from mlrf.cli import main
from mlrf.cli.signals import EndedBySignal, ended_by_signals
from running import eventually, is_alive

ENDINGS = {signal.SIGINT: (130, "mlrf: interrupted\n"), signal.SIGTERM: (143, "mlrf: terminated\n")}
# What a signal does must not depend on how these tests were started: under `nohup … &` SIGINT comes ignored.
BUILD = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from mlrf.cli import main
sys.exit(main(["build", *sys.argv[1:]]))
"""


@pytest.fixture(params=ENDINGS, ids=lambda number: number.name)
def number(request):
    earlier = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, earlier)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("signals") / "model.txt"
    x = np.arange(200.0).reshape(-1, 2)
    lgb.train({"verbose": -1}, lgb.Dataset(x, x[:, 0]), 2).save_model(path)
    return path


def slow_build(model, tmp_path):
    """Start a build whose child never answers; return its output folder, its temporary folder, and its process."""
    target, temporary, slow = (tmp_path / name for name in ("place", "temporary", "slow"))
    for folder in (target, temporary, slow):
        folder.mkdir()
    # Stands before the real one on the path of the child that is asked for golden answers.
    (slow / "lightgbm.py").write_text(
        f"import os, pathlib, time\npathlib.Path({str(slow / 'pid')!r}).write_text(f'{{os.getpid()}}.')\ntime.sleep(60)"
    )
    building = subprocess.Popen(
        [sys.executable, "-c", BUILD, model, "-o", target / "b", "--name", "m"],
        env={**os.environ, "PYTHONPATH": str(slow), "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    return target, temporary, building


def child_of(building, tmp_path):
    """Wait until the child of a slow build runs, and return its process id."""
    pid_file = tmp_path / "slow" / "pid"
    eventually(
        lambda: building.poll() is not None or (pid_file.exists() and pid_file.read_text().endswith(".")),
        what="the child",
    )
    return int(pid_file.read_text()[:-1])


def test_terminated_build_leaves_nothing_behind(number, model, tmp_path):
    target, temporary, building = slow_build(model, tmp_path)
    try:
        child = child_of(building, tmp_path)
        assert list(temporary.glob("mlrf-parity-*"))
        building.send_signal(number)
        stderr = building.communicate(timeout=300)[1]
    finally:
        building.kill()
    status, sentence = ENDINGS[number]
    assert building.returncode == status
    assert stderr.endswith(sentence)
    assert "Traceback" not in stderr
    assert not is_alive(child)
    assert list(temporary.glob("mlrf-*")) == []
    assert list(target.iterdir()) == []


def test_the_next_build_removes_what_a_killed_one_left(model, tmp_path, monkeypatch):
    target, temporary, building = slow_build(model, tmp_path)
    try:
        child = child_of(building, tmp_path)
        assert list(temporary.glob("mlrf-parity-*"))
        assert list(target.glob(".b.building-*"))
    finally:
        building.kill()
        building.communicate()
    eventually(lambda: not is_alive(child), what="the end of the child")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert main(["build", *map(str, building.args[3:])]) == 0
    assert list(temporary.glob("mlrf-*")) == []
    assert [path.name for path in target.iterdir()] == ["b"]


def test_every_offline_command_says_that_it_was_ended(capsys, monkeypatch, number):
    monkeypatch.setattr("mlrf.cli.predict.write_single", lambda *_, **__: signal.raise_signal(number))
    before = signal.getsignal(number)
    assert main(["predict", "b", "rows.csv"]) == ENDINGS[number][0]
    assert capsys.readouterr().err == ENDINGS[number][1]
    assert signal.getsignal(number) is before


def test_of_several_signals_the_first_ends_and_the_rest_do_not(number):
    def cleaning() -> None:
        with ended_by_signals():
            try:
                signal.raise_signal(number)
            finally:
                for late in ENDINGS:
                    signal.raise_signal(late)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(EndedBySignal) as ended:
        cleaning()
    assert ended.value.number == number


def test_ignored_signals_stay_ignored():
    earlier = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, earlier)
    before = [signal.getsignal(number) for number in ENDINGS]
    within = []

    def elsewhere() -> None:
        with ended_by_signals():
            within.extend(signal.getsignal(number) for number in ENDINGS)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert within == before
