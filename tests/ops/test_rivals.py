"""The comparison with other servers and engines: which are measured, and what happens when one fails or answers something else."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from pathlib import Path

import lightgbm
import numpy as np
import pytest

import mlrf

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import contenders  # noqa: E402
import rival_engines  # noqa: E402
import rival_environments  # noqa: E402
from rival_servers import SERVERS  # noqa: E402
from rivals import selected  # noqa: E402

ROWS, FEATURES = 5_000, 5


def train(seed: int) -> lightgbm.Booster:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS, FEATURES))
    return lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(rows, rows[:, 0] * rows[:, 1]), 10)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rivals") / "lightgbm"
    booster = train(seed=1)
    mlrf.build(booster, folder / "bundle", name="small")
    booster.save_model(folder / "model.txt")
    np.save(folder / "rows.npy", np.random.default_rng(2).normal(size=(ROWS, FEATURES)))
    return folder


@pytest.fixture
def own_environment(monkeypatch):
    """The engines that this environment has, in place of environments made of a registry's packages."""
    monkeypatch.setattr(rival_environments, "python_of", lambda _: Path(sys.executable))


@pytest.mark.usefixtures("own_environment")
def test_engines_that_cannot_run_are_named(home):
    table, missing = rival_engines.measure_model(
        home, ("mlrf", "LightGBM", "lleaves"), ("mlrf", "LightGBM", "fasttreeshap"), 1, ("1", "100")
    )
    assert (
        set(table["1"]) == set(table["100"]) == set(table["shap 1"]) == set(table["shap 1000"]) == {"mlrf", "LightGBM"}
    )
    assert all(us > 0 for engines in table.values() for turns in engines.values() for us in turns)
    assert set(missing) == {"lleaves", "fasttreeshap, SHAP values"}
    assert all("No module named" in why for why in missing.values())


@pytest.mark.usefixtures("own_environment")
def test_engines_with_other_answers_are_not_measured(home, tmp_path):
    other = shutil.copytree(home, tmp_path / "lightgbm")
    train(seed=3).save_model(other / "model.txt")
    table, missing = rival_engines.measure_model(other, ("mlrf", "LightGBM"), ("mlrf", "LightGBM"), 1, ("1",))
    assert set(table["1"]) == set(table["shap 1"]) == {"mlrf"}
    assert set(missing) == {"LightGBM", "LightGBM, SHAP values"}
    assert all("value 0 is" in why for why in missing.values())


def test_a_table_or_a_rival_is_selected():
    assert selected([]) == {"servers": list(SERVERS), "engines": list(rival_engines.ALL)}
    assert selected(["engines"]) == {"engines": list(rival_engines.ALL)}
    assert selected(["ray-serve", "Go tuned"]) == {"servers": ["mlrf", "Go tuned", "Ray Serve"]}
    assert selected(["servers", "woodelf"]) == {"servers": list(SERVERS), "engines": ["mlrf", "woodelf"]}
    with pytest.raises(ValueError, match="unknown: rayserve"):
        selected(["rayserve"])


def test_every_rival_has_an_environment_and_its_files():
    for name in {*SERVERS, *rival_engines.ALL} - {"mlrf", "FastAPI"}:
        assert rival_environments.SHARED.get(name, name) in rival_environments.PACKAGES, name
    for server in SERVERS.values():
        assert all((contenders.PEERS / file).is_file() for file in server.user_code), server.name


class LeavesChild:
    """A server whose child lives on when it is terminated."""

    name = "leaves a child"

    def __init__(self, note: Path) -> None:
        self.note = note

    def command(self, *_) -> list[str]:
        start = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
        wait = f"import os, time; open({str(self.note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        return [sys.executable, "-c", start, wait]


def test_the_children_of_a_server_end_with_it(tmp_path):
    note = tmp_path / "child"
    with contenders.started(LeavesChild(note), tmp_path, workers=1):
        deadline = time.monotonic() + 20
        while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
    state = Path(f"/proc/{int(note.read_text())}/stat")
    while time.monotonic() < deadline + 5:
        with contextlib.suppress(OSError):
            if state.read_text().rpartition(")")[2].split()[0] != "Z":  # no one may wait for it
                time.sleep(0.01)
                continue
        return
    pytest.fail("the child still runs")
