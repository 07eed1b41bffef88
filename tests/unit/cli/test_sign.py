"""`mlrf keygen`, `mlrf sign`, and the commands that verify."""

from __future__ import annotations

import shutil

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from signed_bundles import make_pair


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_tree_bundle(folder / "bundle", schema=NUMBERS)
    make_pair(folder, "foreign")
    return folder


@pytest.fixture
def home(made, tmp_path):
    return shutil.copytree(made, tmp_path / "home")


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_pair_is_made_and_signs(home, run):
    key, bundle = home / "release.key", home / "bundle"
    status, out, error = run("keygen", key)
    assert (status, "keep it off servers" in out, f"{key}.pub" in out) == (0, True, True), error
    status, out, error = run("sign", bundle, "--key", key, "--source", bundle / "schema.json", "--built-by", "run 12")
    assert (status, "signed with key" in out) == (0, True), error
    assert run("keygen", key)[0] == 2
    assert run("sign", bundle, "--key", f"{key}.pub")[0] == 2
    assert run("sign", home, "--key", key)[0] == 3


def test_publish_and_rollback_ask_for_a_signature(home, run):
    key, bundle, models = home / "release.key", home / "bundle", home / "models"
    run("keygen", key)
    status, _, error = run("publish", bundle, models, "--identity", f"{key}.pub")
    assert (status, "model.sig is missing" in error, models.exists()) == (3, True, False)
    run("sign", bundle, "--key", key)
    assert run("publish", bundle, models, "--identity", f"{key}.pub")[0] == 0
    second = write_tree_bundle(home / "second", schema=NUMBERS, seed=8)
    run("sign", second, "--key", home / "foreign.key")
    assert run("publish", second, models)[0] == 0
    assert run("rollback", models / "sample", "--to", "1", "--identity", home / "foreign.key.pub")[0] == 3
    assert run("rollback", models / "sample", "--identity", f"{key}.pub")[0] == 0
    assert read_bundle(models / "sample/1").version == read_bundle(bundle).version


def test_a_published_version_is_signed_in_place(home, run):
    key, models = home / "release.key", home / "models"
    run("keygen", key)
    run("publish", home / "bundle", models)
    status, out, error = run("sign", f"{models}/sample@1", "--key", key)
    assert (status, "sample/1/model.sig" in out) == (0, True), error
