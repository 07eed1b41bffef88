"""`--require-signature`: at the start and at every reload, only what a trusted key signed is served."""

from __future__ import annotations

import json
import shutil

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish
from raw_http import Client
from running import eventually, run_to_its_end, serving
from signed_bundles import make_pair, signed

BODY = {"features": ALL_KINDS.example()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three versions of one model, unsigned, and two pairs of keys."""
    folder = tmp_path_factory.mktemp("signatures")
    for seed in (7, 8, 9):
        write_tree_bundle(folder / str(seed), seed=seed)
    make_pair(folder)
    make_pair(folder, "foreign")
    return folder


@pytest.fixture
def copy_of(home, tmp_path):
    return lambda seed, name="bundle": shutil.copytree(home / str(seed), tmp_path / name)


def required(home):
    return ("--require-signature", str(home / "release.key.pub"))


def short(path):
    return read_bundle(path).short_version


def answered_by(server):
    return server.ask("POST", "/predict", BODY).json["version"]


def refusals(server):
    return [each["reason"] for each in server.log if each["event"] == "reload refused"]


def test_a_start_refuses_what_no_trusted_key_signed(home, copy_of):
    bundle = copy_of(7)
    for state, sentence in (("unsigned", "model.sig is missing"), ("foreign", "is signed with another key")):
        if state == "foreign":
            signed(bundle, home / "foreign.key")
        status, output, _ = run_to_its_end([bundle], "--port", "0", *required(home))
        assert (status, sentence in output) == (3, True), output
    status, output, _ = run_to_its_end([bundle], "--port", "0", "--require-signature", str(home / "release.key"))
    assert (status, "--require-signature" in output, "but a private one" in output) == (2, True, True), output


def test_a_repository_serves_and_reloads_signed_versions_only(home, copy_of, tmp_path):
    models = tmp_path / "models"
    first = signed(copy_of(7, "first"), home / "release.key")
    publish(first, models)
    second = copy_of(8, "second")
    publish(second, models)
    with serving(models, options=required(home)) as server:
        assert answered_by(server) == short(first)
        [refused] = server.ask("GET", "/models").json["refused"]
        assert (refused["number"], refused["serving"]) == (2, 1)
        assert any(each["event"] == "version refused" and "model.sig" in each["reason"] for each in server.log)

        third = signed(copy_of(9, "third"), home / "foreign.key")
        publish(third, models)
        eventually(lambda: refusals(server), what="a refused reload")
        assert "is signed with another key" in refusals(server)[-1]
        assert answered_by(server) == short(first)

        publish(signed(second, home / "release.key"), models)
        eventually(lambda: answered_by(server) == short(second), what="the second version")


def test_a_bundle_directory_is_reloaded_only_if_signed(home, copy_of, tmp_path):
    bundle = signed(copy_of(7), home / "release.key")
    admin = tmp_path / "admin.sock"
    with serving(bundle, options=(*required(home), "--admin", f"unix:{admin}")) as server:

        def load():
            with Client(admin) as client:
                client.socket.settimeout(60)
                return client.ask("POST", "/admin/models/sample/load", b"")

        before = answered_by(server)
        shutil.rmtree(bundle)
        copy_of(8)
        refused = load()
        assert (refused.status, "model.sig is missing" in json.dumps(refused.json)) == (409, True), refused.json
        assert answered_by(server) == before
        signed(bundle, home / "release.key")
        assert load().status == 200
        assert answered_by(server) == short(bundle)


def test_no_option_builds_what_would_be_refused(home, tmp_path):
    options = ("--build-at-start", "--model-name", "sales", *required(home))
    status, output, _ = run_to_its_end([tmp_path], "--port", "0", *options)
    assert (status, "is not signed; use one of them" in output) == (2, True), output
