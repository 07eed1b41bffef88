"""The servers of the wire tests: one with default settings, one with limits that a test can reach."""

from __future__ import annotations

import pytest

from bundles import NUMBERS, write_bundle
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
