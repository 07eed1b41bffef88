"""Mirrors of stores: complete versions or none, whatever the store holds. One body of tests over every store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.publishing import publish, rollback
from mlrf.core.repository import ModelDirectory, model_directories
from mlrf.stores.address import parse_address
from mlrf.stores.mirror import Mirror
from mlrf.stores.open_store import open_reader
from running import eventually
from store_servers import BUCKET, S3_VARIABLES, file_server, s3_client, s3_server, upload

TIMEOUT_S = 5.0


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tree_bundle(folder / str(seed), schema=NUMBERS, seed=seed) for seed in (7, 8)]


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


class Files:
    """A folder that a web server shows."""

    def __init__(self, home, server):
        self.home, self.address = home, server.url

    def changed(self):
        """Show the folder as it is now: it is."""

    def a_second_later(self):
        """Let the next pointer have a later time of writing."""
        os.utime(self.home / "sample/current.json", (2e9, 2e9))


class Objects:
    """A folder whose files are objects in S3."""

    def __init__(self, home, client, prefix):
        self.home, self.client, self.prefix = home, client, prefix
        self.address = f"s3://{BUCKET}/{prefix}"

    def changed(self):
        """Make the objects those of the folder."""
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        for each in listed.get("Contents", ()):
            self.client.delete_object(Bucket=BUCKET, Key=each["Key"])
        upload(self.client, self.home, self.prefix)

    def a_second_later(self):
        """Let the next pointer have a later time of writing, which S3 gives in seconds."""
        written = self.client.head_object(Bucket=BUCKET, Key=f"{self.prefix}/sample/current.json")["LastModified"]
        eventually(lambda: time.time() >= written.timestamp() + 1, what="the next second")


@pytest.fixture(params=["https", pytest.param("s3", marks=pytest.mark.slow)])
def store(request, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    if request.param == "s3":
        url = request.getfixturevalue("s3")
        for name, value in {**S3_VARIABLES, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        yield Objects(home, s3_client(url), tmp_path.name)
    else:
        with file_server(home) as server:
            yield Files(home, server)


@pytest.fixture
def mirror_of(tmp_path):
    def mirror_of(address):
        parsed = parse_address(address)
        return Mirror(parsed, tmp_path / "cache", lambda: open_reader(parsed, TIMEOUT_S))

    return mirror_of


def current(mirror, name="sample"):
    directory = ModelDirectory(mirror.path / name)
    return directory.read(directory.pointer().version).version


def test_a_repository_is_followed(store, mirror_of, bundles):
    first, second = (read_bundle(each).version for each in bundles)
    publish(bundles[0], store.home)
    store.changed()
    mirror = mirror_of(store.address)
    assert mirror.is_empty
    [change] = mirror.sync()
    assert (change.model, change.number, change.digest, change.resolved) == ("sample", 1, first, store.address)
    assert not mirror.is_empty
    assert list(mirror.sync()) == []
    publish(bundles[1], store.home)
    store.changed()
    assert [each.digest for each in mirror.sync()] == [second]
    rollback(ModelDirectory(store.home / "sample"))
    store.changed()
    assert [each.digest for each in mirror.sync()] == [first]
    assert current(mirror) == first


def test_one_model_and_one_version_are_addresses(store, mirror_of, bundles):
    for bundle in bundles:
        publish(bundle, store.home)
    store.changed()
    one = mirror_of(f"{store.address}/sample")
    assert [each.number for each in one.sync()] == [2]
    pinned = mirror_of(f"{store.address}/sample@1")
    assert [each.digest for each in pinned.sync()] == [read_bundle(bundles[0]).version]
    assert len(list((pinned.path.parents[1] / "bundles").iterdir())) == 2


def test_a_single_bundle_gets_a_number_for_each_content(store, mirror_of, bundles):
    mirror = mirror_of(f"{store.address}/bundle")
    for expected, bundle in enumerate((*bundles, bundles[0])):
        shutil.rmtree(store.home / "bundle", ignore_errors=True)
        shutil.copytree(bundle, store.home / "bundle")
        store.changed()
        [change] = mirror.sync()
        assert (change.number, change.digest) == (expected % 2 + 1, read_bundle(bundle).version)
        assert list(mirror.sync()) == []


@pytest.mark.parametrize("fault", ["altered", "missing", "longer", "manifest", "pointer", "other name", "folder"])
def test_a_damaged_version_changes_nothing(store, mirror_of, bundles, fault):
    publish(bundles[0], store.home)
    store.changed()
    mirror = mirror_of(store.address)
    list(mirror.sync())
    directory, _ = publish(bundles[1], store.home)
    damaged = directory.path / "2/forest.bin"
    for file in (directory.path / "2").iterdir():
        file.chmod(0o644)
    if fault == "altered":
        damaged.write_bytes(bytes(len(damaged.read_bytes())))
    elif fault == "missing":
        damaged.unlink()
    elif fault == "longer":
        damaged.write_bytes(damaged.read_bytes() + b"\0")
    elif fault == "manifest":
        (directory.path / "2/manifest.json").write_bytes(b"{}")
    elif fault == "pointer":
        (directory.path / "current.json").write_bytes(b"{")
    elif fault == "other name":
        shutil.move(directory.path, store.home / "other")
        (store.home / "index.json").write_text('{"models": ["other"]}')
    else:
        document = json.loads((directory.path / "2/manifest.json").read_bytes())
        document["files"]["../../escaped"] = document["files"].pop("forest.bin")
        _point_to(directory, json.dumps(document).encode())
    store.changed()
    with pytest.raises((BundleError, RepositoryError)):
        list(mirror.sync())
    assert current(mirror) == read_bundle(bundles[0]).version
    assert not list(mirror.path.parents[1].rglob("escaped"))
    cached = {each.name for each in (mirror.path.parents[1] / "bundles").iterdir()}
    assert all(read_bundle(mirror.path.parents[1] / "bundles" / each).version == each for each in cached)
    shutil.rmtree(store.home)
    publish(bundles[1], store.home)
    store.changed()
    assert [each.digest for each in mirror.sync()] == [read_bundle(bundles[1]).version]


def _point_to(directory, manifest):
    (directory.path / "2/manifest.json").write_bytes(manifest)
    pointer = {"number": 2, "digest": hashlib.sha256(manifest).hexdigest(), "before": [1]}
    (directory.path / "current.json").write_text(json.dumps(pointer))


def test_a_fault_of_one_model_does_not_hold_up_another(store, mirror_of, bundles, tmp_path):
    other = write_tree_bundle(tmp_path / "zebra", name="zebra", schema=NUMBERS)
    publish(bundles[0], store.home)
    publish(other, store.home)
    (store.home / "sample/1/forest.bin").unlink()
    store.changed()
    mirror = mirror_of(store.address)
    changes = mirror.sync()
    assert next(changes).model == "zebra"
    with pytest.raises(RepositoryError, match=r"forest\.bin: is missing in the store"):
        next(changes)
    assert [each.name for each in model_directories(mirror.path)] == ["zebra"]


def test_nothing_at_an_address_is_said(store, mirror_of):
    store.changed()
    with pytest.raises(RepositoryError, match="there is no bundle, no model and no repository"):
        list(mirror_of(store.address).sync())


def test_what_is_damaged_in_the_cache_is_fetched_again(store, mirror_of, bundles):
    publish(bundles[0], store.home)
    store.changed()
    mirror = mirror_of(store.address)
    [change] = mirror.sync()
    [cached] = (mirror.path.parents[1] / "bundles").iterdir()
    (cached / "forest.bin").write_bytes(b"damaged")
    again = mirror_of(store.address)
    list(again.sync())
    assert current(again) == change.digest


def test_a_new_signature_is_followed_too(store, mirror_of, bundles, tmp_path):
    copied = shutil.copytree(bundles[0], tmp_path / "copied")
    publish(copied, store.home)
    store.changed()
    mirror = mirror_of(store.address)
    list(mirror.sync())
    pointer = ModelDirectory(mirror.path / "sample").path / "current.json"
    before = pointer.stat().st_ino
    (copied / "model.sig").write_bytes(b"signature")
    publish(copied, store.home)
    store.a_second_later()
    store.changed()
    [change] = mirror.sync()
    assert ((mirror.path / "sample/1/model.sig").read_bytes(), change.number) == (b"signature", 1)
    assert pointer.stat().st_ino != before, "a server that refused the version must see that it may try again"


def test_stores_that_share_a_cache_keep_their_signatures(store, mirror_of, bundles, tmp_path):
    mirrors = {}
    for name in ("one", "two", "unsigned"):
        copied = shutil.copytree(bundles[0], tmp_path / name)
        if name != "unsigned":
            (copied / "model.sig").write_text(name)
        publish(copied, store.home / name)
        mirrors[name] = mirror_of(f"{store.address}/{name}")
    store.changed()
    for _ in range(2):
        for mirror in mirrors.values():
            list(mirror.sync())
    versions = {name: mirror.path / "sample/1" for name, mirror in mirrors.items()}
    assert (versions["one"] / "model.sig").read_text() == "one"
    assert (versions["two"] / "model.sig").read_text() == "two"
    assert not (versions["unsigned"] / "model.sig").exists()
    assert len({(each / "forest.bin").stat().st_ino for each in versions.values()}) == 1
    assert {current(mirror) for mirror in mirrors.values()} == {read_bundle(bundles[0]).version}


def test_a_damaged_pointer_is_named_by_its_address(store, mirror_of, bundles):
    directory, _ = publish(bundles[0], store.home)
    (directory.path / "current.json").write_bytes(b"{")
    store.changed()
    with pytest.raises(BundleError, match=rf"^{store.address}/sample/current\.json: "):
        list(mirror_of(store.address).sync())


def test_a_restart_leaves_an_equal_pointer_alone(store, mirror_of, bundles):
    publish(bundles[0], store.home)
    store.changed()
    list(mirror_of(store.address).sync())
    mirror = mirror_of(store.address)
    pointer = mirror.path / "sample/current.json"
    before = pointer.stat().st_ino
    list(mirror.sync())
    assert pointer.stat().st_ino == before
