"""Memory of the processes of a server of trees: no array library, and one copy of the forest for all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.feature import Feature
from mlrf.core.manifest import FOREST, LinkEntry
from mlrf.core.schema import Schema
from running import serving

pytestmark = pytest.mark.timing  # pages that other processes would share

WIDE = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
BODY = {"features": [0.5] * 30}
N_WORKERS = 2


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    return write_tree_bundle(folder / "b", schema=WIDE, n_trees=500, max_leaves=60)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return write_tree_bundle(
        tmp_path_factory.mktemp("memory") / "c",
        name="classes",
        schema=NUMBERS,
        n_outputs=3,
        task="multiclass",
        link=LinkEntry("softmax"),
        classes=["a", "b", "c"],
    )


def ask_everything(server) -> set[int]:
    """Ask each worker for every kind of answer, several times; return the processes that answered."""
    for _ in range(40):
        assert server.ask("POST", "/predict", BODY).status == 200
        assert server.ask("POST", "/explain", BODY).status == 200
        instances = [BODY] * 100
        assert server.ask("POST", "/predict/batch", {"instances": instances, "explain": 3}).status == 200
        assert server.ask("POST", "/models/classes/explain", {"features": [1, None, 2]}).status == 200
        assert server.ask("POST", "/predict", {"features": {}}).status == 422
    for route in ("/models", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert server.ask("GET", route).status == 200
    return set(server.booted(N_WORKERS))


def libraries(pid: int) -> set[str]:
    """File names that a process has mapped."""
    return {
        line.split(maxsplit=5)[5].strip()
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
        if line.count("/")
    }


def test_a_server_of_trees_maps_neither_numpy_nor_onnxruntime(path, classes):
    with serving(path, classes, workers=N_WORKERS) as server:
        for pid in (server.process.pid, *ask_everything(server)):
            mapped = libraries(pid)
            heavy = re.compile(r"/(numpy|numpy\.libs|onnxruntime|pyarrow|pandas|onnx|rich|lightgbm)/")
            assert [name for name in mapped if heavy.search(name)] == []
            # The same look finds what is there.
            assert any("uvloop" in name for name in mapped)


def test_the_same_look_finds_an_engine_that_is_there(path, classes):
    with serving(path, classes, options=["--engine", "onnxruntime"]) as server:
        (worker,) = server.workers()
        assert any("/onnxruntime/" in name for name in libraries(worker))
        assert any("/numpy/" in name for name in libraries(worker))
        assert not any("/onnxruntime/" in name for name in libraries(server.process.pid))


def forest_pages(pid: int, path_name: str) -> dict[str, int]:
    """Sizes in KB of a process's mappings of the held forest file, by the names that smaps gives them."""
    sizes: dict[str, int] = {}
    is_file = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_file = f"/memfd:mlrf-{path_name}-{FOREST} " in line
        elif is_file and (found := re.match(r"(\w+): +(\d+) kB", line)):
            sizes[found[1]] = sizes.get(found[1], 0) + int(found[2])
    return sizes


def test_workers_share_one_copy_of_the_forest(path, classes):
    size_kb = (path / FOREST).stat().st_size // 1024
    assert size_kb > 1000
    with serving(path, classes, workers=N_WORKERS) as server:
        workers = ask_everything(server)
        for pid in workers:
            pages = forest_pages(pid, read_bundle(path).name)
            assert pages["Size"] >= size_kb
            assert pages["Rss"] > size_kb / 2, "every worker has used it"
            assert pages["Private_Dirty"] == pages["Anonymous"] == 0
            assert pages["Pss"] <= 0.6 * pages["Rss"], "its pages are those of the others"
