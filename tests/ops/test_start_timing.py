"""`--print-timing`: the phases of a start in the log, once."""

from __future__ import annotations

import os
import signal

import pytest

from bundles import write_tree_bundle
from running import eventually, serving

PHASES = ["imports and settings", "models and replay", "listeners", "fork and worker"]


def timings(server):
    return [entry for entry in server.log if entry["event"] == "start timing"]


def test_the_phases_of_the_start_are_logged_once(tmp_path):
    with serving(write_tree_bundle(tmp_path / "b"), workers=2, options=["--print-timing"]) as server:
        [entry] = eventually(lambda: timings(server))
        assert list(entry["wall_ms"]) == list(entry["cpu_ms"]) == PHASES
        assert entry["ms"] == pytest.approx(sum(entry["wall_ms"].values()), abs=0.2)
        assert all(entry["cpu_ms"][phase] > 0 for phase in PHASES)
        # Wall time is longer, but for the kernel's steps of 10 ms.
        assert entry["wall_ms"]["imports and settings"] + 20 >= entry["cpu_ms"]["imports and settings"]
        before = set(server.workers())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: server.is_ready() and not before & set(server.workers()))
        assert timings(server) == [entry]


def test_nothing_is_logged_without_the_option(tmp_path):
    with serving(write_tree_bundle(tmp_path / "b")) as server:
        assert timings(server) == []


_NO_MEASUREMENT = """
from mlrf.serving.models import loaded_model
def measured(model):
    raise RuntimeError("measured by a worker")
loaded_model.measure_costs = measured
"""


def test_workers_use_the_costs_measured_after_the_replay(tmp_path):
    with serving(write_tree_bundle(tmp_path / "b"), broken_by=_NO_MEASUREMENT) as server:
        assert server.ask("GET", "/readyz").status == 200
