"""`mlrf gc`: what is current, newer, or wanted for a rollback stays."""

from __future__ import annotations

import shutil

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.publishing import publish, rollback
from mlrf.core.repository import ModelDirectory
from mlrf.stores.address import parse_address
from mlrf.stores.mirror import Mirror
from mlrf.stores.open_store import open_reader
from store_servers import file_server


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tree_bundle(folder / str(seed), schema=NUMBERS, seed=seed, n_trees=2) for seed in range(5)]


@pytest.fixture
def models(bundles, tmp_path):
    for each in bundles:
        publish(each, tmp_path / "models")
    return tmp_path / "models"


def test_old_versions_are_removed_and_the_rest_stays(models, capsys):
    directory = ModelDirectory(models / "sample")
    assert main(["gc", str(models), "--keep", "2", "--dry-run"]) == 0
    assert capsys.readouterr().out.count("would remove") == 2
    assert directory.numbers() == [1, 2, 3, 4, 5]
    assert main(["gc", str(models), "--keep", "2"]) == 0
    assert directory.numbers() == [3, 4, 5]
    rollback(directory)
    assert directory.read(directory.pointer().version)


def test_the_last_current_version_counts_as_newest(models):
    directory = ModelDirectory(models / "sample")
    rollback(directory, "2")
    rollback(directory, "4")
    assert main(["gc", str(models / "sample"), "--keep", "2"]) == 0
    assert directory.numbers() == [2, 4, 5]
    assert main(["gc", str(models), "--keep", "0"]) == 0
    assert directory.numbers() == [4, 5]


def test_what_was_fetched_is_removed_with_its_last_link(models, bundles, tmp_path, capsys):
    state = tmp_path / "state"
    with file_server(tmp_path / "models") as store:
        address = parse_address(store.url)
        mirror = Mirror(address, state, lambda: open_reader(address, 5.0))
        list(mirror.sync())
        for each in bundles[:3]:
            publish(each, models)
            (models / "sample/current.json").touch()
            list(Mirror(address, state, lambda: open_reader(address, 5.0)).sync())
    assert len(list((state / "bundles").iterdir())) == 4
    assert main(["gc", str(state), "--keep", "1"]) == 0
    directory = ModelDirectory(mirror.path / "sample")
    assert directory.numbers() == [2, 3, 5]
    assert len(list((state / "bundles").iterdir())) == 3
    assert directory.read(directory.pointer().version)
    capsys.readouterr()
    assert main(["gc", str(tmp_path / "nothing")]) == 2


def test_nothing_to_remove_is_said(models, capsys):
    for _ in range(2):
        assert main(["gc", str(models), "--keep", "99"]) == 0
        assert capsys.readouterr().out == f"{models}: no version to remove\n"


def test_what_is_damaged_or_foreign_is_named_and_the_rest_is_done(models, bundles, tmp_path, capsys):
    publish(bundles[0], tmp_path / "state/stores/one")
    state = tmp_path / "state"
    unused = state / "bundles" / ("0" * 64)
    unused.mkdir(parents=True)
    for kept in (state / "bundles/notes.txt", state / "bundles" / ("1" * 64)):
        kept.write_text("of somebody")
    (state / "bundles/backup").mkdir()
    assert main(["gc", str(state)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"removed {unused}\n"
    assert printed.err.count("it is not a bundle that a server fetched") == 3
    assert len(list((state / "bundles").iterdir())) == 3
    damaged = models / "damaged"
    shutil.copytree(models / "sample", damaged)
    (damaged / "current.json").write_text("{")
    assert main(["gc", str(models), "--keep", "2"]) == 3
    printed = capsys.readouterr()
    assert printed.out.count("removed ") == 2
    assert f"{damaged}/current.json: is not a valid pointer file" in printed.err
    assert ModelDirectory(damaged).numbers() == [1, 2, 3, 4, 5]
