"""The servers of the wire tests: one with default settings, one with limits that a test can reach, one that explains."""

from __future__ import annotations

import numpy as np
import pytest

import mlrf
from bundles import NUMBERS, write_bundle, write_tree_bundle
from forked_references import forked_references  # noqa: F401  a fixture
from mlrf.core.bundle import read_bundle
from mlrf.core.manifest import LinkEntry
from running import serving


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [
        write_bundle(folder / "sample"),
        write_bundle(folder / "binary", name="binary", task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"]),
        write_bundle(
            folder / "three",
            name="three",
            schema=NUMBERS,
            task="multiclass",
            link=LinkEntry("softmax"),
            classes=[0, 1, "other"],
            n_outputs=3,
        ),
        write_bundle(folder / "exp", name="exp", schema=NUMBERS, link=LinkEntry("exp")),
    ]


@pytest.fixture(scope="session")
def running(bundles):
    with serving(*bundles) as server:
        yield server


@pytest.fixture
def server(running):
    """The server with default settings; whatever a test sends, it survives and no crash is logged."""
    before, pids = len(running.lines), running.workers()
    yield running
    assert running.is_ready()
    assert running.workers() == pids, "a worker died"
    assert [entry for entry in running.log[before:] if entry["level"] not in ("info", "debug")] == []


@pytest.fixture(scope="session")
def running_strictly(bundles):
    options = ["--request-timeout", "1", "--write-timeout", "1", "--idle-timeout", "2", "--max-body-bytes", "4096"]
    options += ["--max-header-bytes", "2048", "--max-header-fields", "20", "--max-batch", "3"]
    options += ["--unknown-features", "ignore", "--unknown-categories", "missing", "--default", "binary"]
    with serving(*bundles, options=options) as server:
        yield server


@pytest.fixture
def strict(running_strictly):
    """A server with small limits and short waits, lenient with unknown names."""
    yield running_strictly
    assert running_strictly.is_ready()
    assert running_strictly.troubles == []


@pytest.fixture(scope="session")
def tree_bundle(tmp_path_factory):
    """A bundle for tests of access: keys, TLS and CORS."""
    return write_tree_bundle(tmp_path_factory.mktemp("tree") / "b", name="b")


@pytest.fixture(scope="session")
def example(tree_bundle):
    """A request that its server answers."""
    return {"features": read_bundle(tree_bundle).schema.example()}


@pytest.fixture(scope="session")
def explained_paths(tmp_path_factory):
    """Bundles of trees: of one output and of three classes with a background and groups, and one without."""
    folder = tmp_path_factory.mktemp("explained")
    classes = {"n_outputs": 3, "task": "multiclass", "classes": ["low", 1, "high"], "link": LinkEntry("softmax")}
    background = [[0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [np.nan, 0.3, -2.0]]
    rest = {"schema": NUMBERS, "background": background, "groups": {"outer": ["x0", "x2"]}}
    return {
        "one": write_tree_bundle(folder / "one", name="one", **rest),
        "three": write_tree_bundle(folder / "three", name="three", **classes, **rest),
        "plain": write_tree_bundle(folder / "plain", name="plain", schema=NUMBERS),
    }


@pytest.fixture(scope="session")
def explained_models(explained_paths):
    """The same models in Python."""
    return {name: mlrf.load(path) for name, path in explained_paths.items()}


@pytest.fixture(scope="session")
def running_explained(explained_paths):
    with serving(*explained_paths.values()) as server:
        yield server


@pytest.fixture
def explained(running_explained):
    """The server of these bundles."""
    yield running_explained
    assert running_explained.is_ready()
    assert running_explained.troubles == []
