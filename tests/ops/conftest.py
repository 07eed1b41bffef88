"""The bundle that the tests of processes serve."""

from __future__ import annotations

import pytest

from bundles import write_bundle, write_stump_bundle


@pytest.fixture
def bundle(tmp_path):
    """A regression bundle with a feature of every kind, which the tree engine serves."""
    return write_stump_bundle(tmp_path / "bundle")


@pytest.fixture
def onnx_bundle(tmp_path):
    """A regression bundle that ONNX Runtime serves."""
    return write_bundle(tmp_path / "bundle")
