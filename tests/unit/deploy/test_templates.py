"""Copies of deployment files with a user's names in them."""

from __future__ import annotations

import pytest

from mlrf.core.errors import BuildError, OutputExistsError
from mlrf.deploy.templates import ROOT, filled, write_files


def test_names_that_begin_with_example_are_replaced():
    assert filled("a: example-name, b: example-model-image", {"name": "x", "model-image": "y"}) == "a: x, b: y"


def test_the_longest_name_counts():
    values = {"name": "x", "namespace": "y", "name-of-all": "z"}
    assert filled("example-namespace example-name-keys example-name-of-all", values) == "y x-keys z"


def test_a_name_without_a_value_is_an_error():
    with pytest.raises(KeyError, match="name"):
        filled("example-name", {})


def test_files_are_written_with_their_folders(tmp_path):
    written = write_files("container", tmp_path / "out", {"version": "1.2.3"})
    assert sorted(map(str, written)) == [
        "Containerfile",
        "requirements-onnx.txt",
        "requirements-sbom.txt",
        "requirements-signing.txt",
        "requirements-stores.txt",
        "requirements.txt",
        "wheels/README.md",
    ]
    assert "ARG MLRF=mlrf==1.2.3\n" in (tmp_path / "out/Containerfile").read_text()
    assert (tmp_path / "out/requirements.txt").read_bytes() == (ROOT / "container/requirements.txt").read_bytes()


@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_there_is_not_overwritten(is_file, tmp_path):
    (tmp_path / "out").write_text("mine") if is_file else (tmp_path / "out/sub").mkdir(parents=True)
    with pytest.raises(OutputExistsError, match="not an empty directory"):
        write_files("container", tmp_path / "out", {"version": "1"})


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for out in (tmp_path / "file/out", tmp_path / "link", tmp_path / ("x" * 300)):
        with pytest.raises(BuildError, match=r"cannot be written: .*; name another directory"):
            write_files("container", out, {"version": "1"})
