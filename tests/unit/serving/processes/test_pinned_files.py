"""Model files in memory: made by one process, and filled, checked and sealed by it or by one forked from it."""

from __future__ import annotations

import os

import pytest

from bundles import write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError
from mlrf.serving.processes.pinned_files import check_filled, close_descriptors, fill_pinned, pin_model


@pytest.fixture
def pinned(tmp_path):
    made = pin_model(read_bundle(write_tree_bundle(tmp_path / "b")), None)
    yield made
    close_descriptors(made.pinned)


def test_a_child_process_fills_the_files(pinned):
    if (child := os.fork()) == 0:
        fill_pinned(pinned)
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


def test_a_file_that_changed_since_it_was_checked_is_refused(pinned):
    (pinned.path / "forest.bin").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"forest\.bin was changed while it was read"):
        fill_pinned(pinned)
    with pytest.raises(BundleError, match=r"forest\.bin was not read"):
        check_filled(pinned)
