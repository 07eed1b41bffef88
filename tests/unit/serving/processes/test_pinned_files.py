"""Model files in memory: made by one process, and filled, checked and sealed by it or by one forked from it."""

from __future__ import annotations

import os

import msgspec
import pytest

from bundles import write_tree_bundle
from mlrf.core.bundle import begin_bundle
from mlrf.core.errors import BundleError
from mlrf.serving.processes.pinned_files import check_filled, close_descriptors, fill_pinned, pin_bundle, pin_model


@pytest.fixture
def begun(tmp_path):
    bundle, check = begin_bundle(write_tree_bundle(tmp_path / "b"))
    made = pin_model(bundle, None)
    yield made, check
    close_descriptors(made.pinned)


@pytest.fixture
def pinned(begun):
    return begun[0]


def test_a_child_process_fills_the_files(begun):
    pinned, check = begun
    if (child := os.fork()) == 0:
        fill_pinned(pinned, check)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    check_filled(pinned)
    for name, descriptor in pinned.pinned.items():
        assert os.pread(descriptor, 1 << 20, 0) == (pinned.path / name).read_bytes()
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)


def test_files_that_were_not_filled_are_refused(pinned):
    with pytest.raises(BundleError, match=r"forest\.bin was not read"):
        check_filled(pinned)


@pytest.mark.parametrize("name", ["forest.bin", "model.onnx", "golden.bin"])
def test_pinned_files_are_sealed_only_if_all_files_are_sound(begun, name):
    pinned, check = begun
    content = bytearray((pinned.path / name).read_bytes())
    content[-1] ^= 1
    (pinned.path / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} was altered".replace(".", r"\.")):
        fill_pinned(pinned, check)
    with pytest.raises(BundleError, match="was not read"):
        check_filled(pinned)


def test_a_file_that_changed_since_it_was_checked_is_refused(pinned):
    bundle = msgspec.structs.replace(pinned, pinned={})
    (pinned.path / "forest.bin").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"forest\.bin was changed while it was read"):
        pin_bundle(bundle, None)
