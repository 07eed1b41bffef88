"""A bundle is read completely or refused, and the error names the file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from bundles import ALL_KINDS, entry_of, write_bundle, write_manifest
from mlrf.core.bundle import begin_bundle, read_bundle, read_pinned
from mlrf.core.bundle_files import digest_file
from mlrf.core.errors import BundleError
from mlrf.core.manifest import LinkEntry


def refusal(path) -> BundleError:
    with pytest.raises(BundleError) as refused:
        read_bundle(path)
    assert str(path) in str(refused.value)
    return refused.value


def manifest(path) -> dict:
    return json.loads((path / "manifest.json").read_bytes())


def with_manifest(path, **changes):
    write_manifest(path, manifest(path) | changes)
    return path


def with_file(path, name, content: bytes):
    """Replace a file and its entry, so that its digest holds."""
    (path / name).write_bytes(content)
    entry = entry_of(path / name)
    files = manifest(path)["files"] | {name: {"sha256": entry.sha256, "size_bytes": entry.size_bytes}}
    return with_manifest(path, files=files)


def test_valid_bundle_is_read(bundle):
    read = read_bundle(bundle)
    assert (read.name, read.schema, read.path) == ("sample", ALL_KINDS, bundle.resolve())
    assert read.version == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert read.short_version == read.version[:12]
    assert read.file("model.onnx") == bundle.resolve() / "model.onnx"
    with pytest.raises(BundleError, match=r"forest\.bin"):
        read.file("forest.bin")


def test_the_same_content_has_the_same_version_anywhere(tmp_path):
    versions = {read_bundle(write_bundle(tmp_path / name)).version for name in "ab"}
    assert len(versions) == 1


@pytest.mark.parametrize("name", ["model.onnx", "schema.json"])
@pytest.mark.parametrize("position", [0, -1])
def test_a_flipped_bit_is_found(bundle, name, position):
    content = bytearray((bundle / name).read_bytes())
    content[position] ^= 1
    (bundle / name).write_bytes(content)
    error = refusal(bundle)
    assert (error.details["file"], "altered" in str(error)) == (name, True)


def test_flipped_manifest_bit_is_found_or_changes_version(bundle):
    version = read_bundle(bundle).version
    content = (bundle / "manifest.json").read_bytes()
    for position in range(0, len(content), 7):
        (bundle / "manifest.json").write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        try:
            assert read_bundle(bundle).version != version
        except BundleError as error:
            assert error.details["file"]


@pytest.mark.parametrize("name", ["model.onnx", "schema.json", "manifest.json"])
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    assert refusal(bundle).details["file"] == name


@pytest.mark.parametrize("name", ["model.onnx", "schema.json", "manifest.json"])
def test_a_truncated_file_is_named(bundle, name):
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[: len(content) // 2])
    assert refusal(bundle).details["file"] == name


@pytest.mark.parametrize("name", ["model.onnx", "schema.json", "manifest.json"])
@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "socket", "device link"])
def test_non_regular_files_are_named_and_not_opened(bundle, name, kind, tmp_path):
    content = (bundle / name).read_bytes()
    (bundle / name).unlink()
    match kind:
        case "link":
            (tmp_path / "elsewhere").write_bytes(content)
            (bundle / name).symlink_to(tmp_path / "elsewhere")
        case "folder":
            (bundle / name).mkdir()
        case "pipe":
            os.mkfifo(bundle / name)
        case "device link":
            (bundle / name).symlink_to("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                here = os.open(bundle, os.O_RDONLY)
                try:
                    listener.bind(f"/proc/self/fd/{here}/{name}")
                finally:
                    os.close(here)
    # Not what it leads to is wrong, nor its size or digest: a link to the very bytes is refused for being a link.
    error = refusal(bundle)
    assert error.details["file"] == name
    assert f"{name} is not a regular file" in str(error)


def test_a_signature_is_a_regular_file(bundle, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"{}")
    (bundle / "model.sig").symlink_to(tmp_path / "elsewhere")
    assert "model.sig is not a regular file" in str(refusal(bundle))
    (bundle / "model.sig").unlink()
    (bundle / "model.sig").mkdir()
    assert "model.sig is not a regular file" in str(refusal(bundle))


def test_a_bundle_without_a_file_for_an_engine_is_refused(bundle):
    (bundle / "model.onnx").unlink()
    files = {name: entry for name, entry in manifest(bundle)["files"].items() if name != "model.onnx"}
    assert "so no engine can serve it" in str(refusal(with_manifest(bundle, files=files)))


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "model.onnx.data"])
def test_a_file_that_is_not_listed_is_named(bundle, name):
    (bundle / name).write_bytes(b"")
    assert refusal(bundle).details["file"] == name


def test_a_file_of_another_size_is_named(bundle):
    with (bundle / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert "bytes" in str(refusal(bundle))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "", ".", "..", "manifest.json", "x\0y"])
def test_invalid_file_name_in_manifest_is_refused(bundle, name):
    (bundle.parent / "outside").write_bytes(b"x")
    files = manifest(bundle)["files"] | {name: {"sha256": digest_file(bundle.parent / "outside"), "size_bytes": 1}}
    refusal(with_manifest(bundle, files=files))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b"\xff", b"{}", b"[" * 10**6, b'{"a":' * 10**6, b'{"format": 1}', b'{"format": NaN}', b'{"format": "1"}',
     b'{"format": 1e999}', b'{"format": ' + b"1" * 10**6 + b"}"],
)  # fmt: skip
def test_invalid_manifest_is_refused(bundle, raw):
    (bundle / "manifest.json").write_bytes(raw)
    assert refusal(bundle).details["file"] == "manifest.json"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format": 3}, "format"),
        ({"format": True}, "format"),
        ({"facts": None}, "must describe either a forest or a graph"),
        ({"graph": {"output": "y"}}, "must describe either a forest or a graph"),
        ({"name": "a b"}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "x\n"}, "name"),
        ({"name": "."}, "name"),
        ({"name": ".."}, "name"),
        ({"task": "guessing"}, "task"),
        ({"link": {"kind": "logit"}}, "logit"),
        ({"n_outputs": 0, "base": []}, "outputs"),
        ({"n_outputs": 2}, "outputs"),
        ({"n_features": 3}, "features"),
        ({"files": {}}, "schema.json"),
        ({"extra": 1}, "extra"),
        ({"classes": ["only one"]}, "classes"),
        ({"classes": ["a", "b", "c"]}, "classes"),
        ({"classes": ["a", "b"], "n_outputs": 3, "base": [0, 0, 0]}, "classes"),
        ({"link": {"kind": "softmax"}}, "softmax"),
        ({"n_outputs": "1"}, "n_outputs"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundle, changes, word):
    error = refusal(with_manifest(bundle, **changes))
    assert word in str(error)
    assert error.details["file"] in ("manifest.json", "schema.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", b"[" * 10**6, b"\xff", b"null"])
def test_invalid_schema_with_valid_digest_is_refused(bundle, content):
    assert refusal(with_file(bundle, "schema.json", content)).details["file"] == "schema.json"


def test_non_bundle_path_error_says_how_to_build(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for path in ("nowhere", "file", "empty", "file/below"):
        assert "mlrf build" in str(refusal(tmp_path / path))


def test_bundle_behind_a_symlinked_folder_is_read(bundle, tmp_path):
    (tmp_path / "current").symlink_to(bundle)
    assert read_bundle(tmp_path / "current").path == bundle.resolve()


@contextlib.contextmanager
def no_root():
    """Be a user who may not read everything."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_may_not_be_read_is_named(bundle):
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(bundle, Path(folder) / "b")
        (copy / "model.onnx").chmod(0)
        Path(folder).chmod(0o755)
        with no_root():
            assert refusal(copy).details["file"] == "model.onnx"


@pytest.mark.parametrize(
    ("task", "link", "classes", "n_outputs"),
    [
        ("regression", "identity", None, 1),
        ("binary", "sigmoid", [0, 1], 1),
        ("multiclass", "softmax", ["a", "b", "c"], 3),
        ("raw", "identity", None, 2),
    ],
)
def test_every_task_is_read(tmp_path, task, link, classes, n_outputs):
    path = write_bundle(tmp_path / "b", task=task, link=LinkEntry(link), classes=classes, n_outputs=n_outputs)
    assert read_bundle(path).manifest.classes == classes


def test_what_is_held_of_another_version_is_refused(bundle):
    with contextlib.ExitStack() as opened:
        pinned = {path.name: opened.enter_context(path.open("rb")).fileno() for path in bundle.iterdir()}
        version = read_bundle(bundle).version
        assert read_pinned(bundle, version, pinned).version == version
        with pytest.raises(BundleError, match="are not those of version 000000000000"):
            read_pinned(bundle, "0" * 64, pinned)


def test_a_pinned_file_with_other_content_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "b")
    version = read_bundle(bundle).version
    (bundle / "schema.json").write_bytes((bundle / "schema.json").read_bytes().replace(b"}", b"} ", 1))
    with contextlib.ExitStack() as opened:
        pinned = {path.name: opened.enter_context(path.open("rb")).fileno() for path in bundle.iterdir()}
        with pytest.raises(BundleError, match=r"the content read of schema\.json does not match the manifest"):
            read_pinned(bundle, version, pinned)
        del pinned["schema.json"]
        with pytest.raises(BundleError, match=r"the content read of schema\.json does not match the manifest"):
            read_pinned(bundle, version, pinned)


def test_a_schema_that_is_replaced_before_the_check_is_refused(tmp_path):
    path = write_bundle(tmp_path / "b")
    schema = (path / "schema.json").read_bytes()
    (path / "schema.json").write_bytes(schema.replace(b"price", b"Price"))
    bundle, check = begin_bundle(path)
    assert bundle.schema.names[0] == "Price"
    (path / "schema.json").write_bytes(schema)
    with pytest.raises(BundleError, match=r"schema\.json was changed while it was read"):
        check(digest_file)
