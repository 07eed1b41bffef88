"""Changes on disk to a served bundle affect no answer, not even of a worker started later."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from running import eventually, serving

ASKED = {"features": ALL_KINDS.example()}


def another(place):
    """A bundle of another model and size at the same place, as `build --force` leaves it."""
    aside = place.with_name("aside")
    place.rename(aside)
    write_tree_bundle(place, n_trees=3, max_leaves=4)


def written_over(place):
    other = place.with_name("other")
    write_tree_bundle(other, n_trees=1, max_leaves=2)
    for file in other.iterdir():
        shutil.copyfile(file, place / file.name)


@pytest.mark.parametrize("change", [another, written_over, shutil.rmtree])
@pytest.mark.parametrize("engine", ["trees", "onnxruntime"])
def test_late_worker_serves_the_checked_model(tmp_path, change, engine):
    place = tmp_path / "served"
    write_tree_bundle(place)
    with serving(place, workers=1, options=("--engine", engine)) as server:
        before = server.ask("POST", "/predict", ASKED)
        assert before.status == 200
        change(place)
        assert server.ask("POST", "/predict", ASKED).body == before.body
        [worker] = server.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([worker], []) and server.is_ready(), what="a new worker")
        assert server.ask("POST", "/predict", ASKED).body == before.body
