"""Changes on disk to a served bundle affect no answer, not even of a worker started later."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from running import eventually, serving

BODY = {"features": ALL_KINDS.example()}


def another(path):
    """A bundle of another model and size at the same place, as `build --force` leaves it."""
    backup = path.with_name("backup")
    path.rename(backup)
    write_tree_bundle(path, n_trees=3, max_leaves=4)


def written_over(path):
    other = path.with_name("other")
    write_tree_bundle(other, n_trees=1, max_leaves=2)
    for file in other.iterdir():
        shutil.copyfile(file, path / file.name)


def prediction(server):
    """The answer, without what depends on how long a busy machine took for it: whether it was cached."""
    answer = server.ask("POST", "/predict", BODY)
    assert answer.status == 200
    return {name: value for name, value in answer.json.items() if name != "cached"}


@pytest.mark.parametrize("change", [another, written_over, shutil.rmtree])
@pytest.mark.parametrize("engine", ["trees", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_late_worker_serves_the_checked_model(tmp_path, change, engine):
    path = tmp_path / "served"
    write_tree_bundle(path)
    with serving(path, workers=1, options=("--engine", engine)) as server:
        before = prediction(server)
        change(path)
        assert prediction(server) == before
        [worker] = server.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([worker], []) and server.is_ready(), what="a new worker")
        assert prediction(server) == before
