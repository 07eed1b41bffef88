"""The model repository: versions are complete, numbers are unique, and the pointer always names a version."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import stat
import sys

import pytest

from bundles import ALL_KINDS, NUMBERS, write_bundle, write_manifest
from mlrf.core import publishing
from mlrf.core.bundle import read_bundle
from mlrf.core.compatibility import contract_changes
from mlrf.core.errors import BundleError, RepositoryError, SchemaChangedError
from mlrf.core.feature import Feature, Kind
from mlrf.core.publishing import publish, rollback
from mlrf.core.repository import ModelDirectory, Version, model_directories
from mlrf.core.schema import Schema


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Three bundles of one model, the third with another schema."""
    folder = tmp_path_factory.mktemp("versions")
    write_bundle(folder / "one")
    # Another objective, so another digest.
    write_bundle(folder / "two", task="raw")
    document = json.loads((folder / "two/manifest.json").read_text()) | {"task": "regression"}
    write_manifest(folder / "two", document)
    write_bundle(folder / "other", schema=NUMBERS)
    return folder


def test_versions_are_numbered_in_order_and_the_pointer_follows(versions, tmp_path):
    model_directory, first = publish(versions / "one", tmp_path)
    assert (first.number, first.digest) == (1, read_bundle(versions / "one").version)
    assert model_directory.read(first).name == "sample"
    _, second = publish(versions / "two", tmp_path)
    assert (second.number, model_directory.pointer().before) == (2, (1,))
    assert model_directory.find(None) == second == model_directory.find("2") == model_directory.find(second.digest[:8])
    assert {stat.S_IMODE(file.stat().st_mode) for file in (model_directory.path / "2").iterdir()} == {0o444}
    assert (
        [s.name for s in model_directories(tmp_path)]
        == [s.name for s in model_directories(tmp_path / "sample")]
        == ["sample"]
    )
    assert model_directories(versions / "one") == []


def test_a_file_in_place_of_a_repository_is_named(versions, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError, match="file: Not a directory; name the directory that holds"):
        publish(versions / "one", tmp_path / "file")


def test_the_same_bundle_gets_no_second_number(versions, tmp_path):
    publish(versions / "one", tmp_path)
    publish(versions / "two", tmp_path)
    model_directory, again = publish(versions / "one", tmp_path)
    assert again.number == 1
    assert model_directory.numbers() == [1, 2]
    assert model_directory.pointer().before == (1, 2)


def test_rolling_back_goes_the_way_back_and_ends_with_a_sentence(versions, tmp_path):
    model_directory, first = publish(versions / "one", tmp_path)
    _, second = publish(versions / "two", tmp_path)
    assert rollback(model_directory) == first
    with pytest.raises(RepositoryError, match="no version was current before"):
        rollback(model_directory)
    assert rollback(model_directory, "2") == second
    assert rollback(model_directory) == first
    with pytest.raises(BundleError, match="'7' is not a version"):
        rollback(model_directory, "7")


def test_rolling_back_to_a_damaged_version_is_refused(versions, tmp_path):
    model_directory, _ = publish(versions / "one", tmp_path)
    _, second = publish(versions / "two", tmp_path)
    (model_directory.path / "1/model.onnx").chmod(0o644)
    (model_directory.path / "1/model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        rollback(model_directory)
    assert model_directory.pointer().version == second


def test_changed_schema_needs_permission(versions, tmp_path):
    model_directory, first = publish(versions / "one", tmp_path)
    with pytest.raises(SchemaChangedError, match="'price' is gone"):
        publish(versions / "other", tmp_path)
    assert (model_directory.pointer().version, model_directory.numbers()) == (first, [1])
    assert publish(versions / "other", tmp_path, allow_schema_change=True)[1].number == 2


@pytest.mark.parametrize("damaged", ["golden.bin", "manifest.json", "current.json"])
def test_valid_version_is_published_over_a_damaged_one(versions, tmp_path, damaged):
    publish(versions / "one", tmp_path)
    directory, _ = publish(versions / "two", tmp_path)
    path = directory.path / damaged if damaged == "current.json" else directory.path / "2" / damaged
    path.unlink(missing_ok=True)
    path.write_text("junk")
    _, version = publish(versions / "two", tmp_path)
    assert version.number == (2 if damaged == "current.json" else 3)
    assert directory.read(directory.pointer().version).version == read_bundle(versions / "two").version


def test_the_contract_holds_when_the_current_version_is_damaged(versions, tmp_path):
    publish(versions / "one", tmp_path)
    directory, _ = publish(versions / "two", tmp_path)
    (directory.path / "2" / "schema.json").unlink()
    with pytest.raises(SchemaChangedError):
        publish(versions / "other", tmp_path)


def test_what_no_server_could_prove_is_not_published(versions, tmp_path):
    bundle = shutil.copytree(versions / "one", tmp_path / "old")
    document = json.loads((bundle / "manifest.json").read_text())
    del document["files"]["golden.bin"]
    (bundle / "golden.bin").unlink()
    write_manifest(bundle, document)
    with pytest.raises(BundleError, match=r"golden\.bin"):
        publish(bundle, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_bundle_is_not_a_repository(versions):
    with pytest.raises(RepositoryError, match="name the repository"):
        publish(versions / "one", versions / "two")


@pytest.mark.parametrize("name", ["current.json", "manifest.json"])
def test_invalid_repository_model_name_is_refused(tmp_path, name):
    with pytest.raises(RepositoryError, match="another --name"):
        publish(write_bundle(tmp_path / "bundle", name=name), tmp_path / "repository")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"number":0,"digest":""}', b'{"number":1,"digest":"../../x"}', b"\xff"]
)
def test_a_pointer_that_points_nowhere_is_refused(tmp_path, content):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/current.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"current\.json"):
        ModelDirectory(tmp_path / "m").pointer()


def test_another_bundle_in_a_versions_place_is_refused(versions, tmp_path):
    model_directory, first = publish(versions / "one", tmp_path)
    with pytest.raises(BundleError, match="as published"):
        model_directory.read(Version(1, "0" * 64))
    (tmp_path / "sample").rename(tmp_path / "renamed")
    with pytest.raises(BundleError, match="contains the model 'sample'"):
        ModelDirectory(tmp_path / "renamed").read(first)


def killed_at(point, call):
    """Run a call in a child process that is killed at its n-th file system access; return whether it got that far."""
    child = os.fork()
    if not child:
        left = point

        def count(event, _arguments):
            nonlocal left
            if event.startswith(("open", "os.", "shutil.", "ctypes.", "fcntl.")):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            call()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_publisher_leaves_a_valid_pointer(versions, tmp_path, stride):
    model_directory, first = publish(versions / "one", tmp_path)
    point = 1 - stride
    while killed_at(point := point + stride, lambda: publish(versions / "two", tmp_path)):
        pointer = model_directory.pointer()
        model_directory.read(pointer.version)
        for number in model_directory.numbers():
            model_directory.read(model_directory.version(number))
    assert point > 30, "the call was killed at too few points to mean anything"
    assert model_directory.pointer().before == (1,)
    publish(versions / "one", tmp_path)
    assert sorted(os.listdir(model_directory.path)) == ["1", "2", "current.json"], "what the killed left is swept"
    assert model_directory.find(None) == first


def test_a_full_disk_leaves_the_old_pointer_and_nothing_else(versions, tmp_path):
    model_directory, first = publish(versions / "one", tmp_path)
    before = sorted(os.listdir(model_directory.path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (0, 100, 1000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(RepositoryError, match="pointer is as it was"):
                publish(versions / "two", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (model_directory.pointer().version, sorted(os.listdir(model_directory.path))) == (first, before)


def test_two_publishers_at_once_get_two_numbers(versions, tmp_path):
    """The other one publishes between our look at the numbers and our rename."""
    model_directory, _ = publish(versions / "one", tmp_path)
    shutil.copytree(versions / "two", model_directory.path / "2")
    listed = model_directory.numbers()
    (model_directory.path / "2").rename(model_directory.path / "backup")

    armed = [True]  # a hook cannot be taken away again

    def other(event, _arguments):
        if event == "ctypes.dlopen" and armed:
            armed.clear()
            (model_directory.path / "backup").rename(model_directory.path / "2")

    sys.addaudithook(other)
    _, version = publish(versions / "two", tmp_path)
    assert (listed, version.number) == ([1, 2], 3)


def changed(**features):
    by_name = {f.name: f for f in ALL_KINDS.features}
    return Schema(tuple(features.get(name, f) for name, f in by_name.items() if features.get(name, f) is not None))


@pytest.mark.parametrize(
    ("schema", "changes"),
    [
        (ALL_KINDS, []),
        (changed(store=Feature("store", Kind.CATEGORICAL, ("north", "süd", "east", "west"))), []),
        (changed(store=Feature("store", Kind.CATEGORICAL, ("north", "east"))), ["feature 'store' has other categories: 'süd' is gone"]),
        (changed(store=Feature("store", Kind.CATEGORICAL, ("east", "north", "süd"))), ["feature 'store' has other categories: their codes have changed"]),
        (changed(size=Feature("size", Kind.CATEGORICAL, None)), ["feature 'size' has other categories: it no longer has a list"]),
        (changed(code=Feature("code", Kind.CATEGORICAL, (1, 2))), ["feature 'code' accepts only listed categories"]),
        (changed(count=Feature("count", Kind.NUMERIC)), ["feature 'count' was integer and is numeric"]),
        (changed(price=Feature("price", Kind.NUMERIC, nullable=False)), ["feature 'price' may no longer be missing"]),
        (changed(price=None), ["feature 'price' is gone"]),
        (Schema((*ALL_KINDS.features, Feature("more"))), ["feature 'more' is new and required"]),
        (Schema(ALL_KINDS.features[::-1]), ["the features are in another order"]),
    ],
)  # fmt: skip
def test_what_callers_would_notice(versions, tmp_path, schema, changes):
    old = read_bundle(versions / "one")
    new = read_bundle(write_bundle(tmp_path / "new", schema=schema))
    assert contract_changes(old, new) == changes


def test_another_task_is_noticed(versions, tmp_path):
    new = read_bundle(write_bundle(tmp_path / "new", task="binary", classes=["no", "yes"]))
    assert len(contract_changes(read_bundle(versions / "one"), new)) == 2


def test_unwritable_repository_is_reported(versions, tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises((RepositoryError, BundleError)) as raised:
        publish(versions / "one", path)
    assert os.strerror(errno.ENOTDIR) in str(raised.value)


def test_a_source_altered_while_it_is_copied_is_not_published(versions, tmp_path):
    bundle = shutil.copytree(versions / "one", tmp_path / "source")

    armed = [True]

    def alter(event, arguments):
        if armed and event == "os.mkdir" and publishing._WORK in str(arguments[0]):
            armed.clear()
            (bundle / "model.onnx").write_bytes(b"other")

    sys.addaudithook(alter)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        publish(bundle, tmp_path / "repository")
    assert os.listdir(tmp_path / "repository/sample") == []


def test_the_remedy_of_a_damaged_pointer_works(versions, tmp_path):
    directory, _ = publish(versions / "one", tmp_path)
    (directory.path / "current.json").unlink()
    (directory.path / "current.json").write_text("junk")
    with pytest.raises(BundleError, match="publish a version again"):
        rollback(directory)
    publish(versions / "one", tmp_path)
    assert directory.pointer().number == 1
