"""Models of random trees, opened from their bundles in the usual way."""

from __future__ import annotations

import numpy as np
import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.manifest import LinkEntry

CLASSES = ["a", 2, True]


@pytest.fixture(scope="session")
def tree_bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("model") / "b", link=LinkEntry("exp"))


@pytest.fixture(scope="session")
def class_bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "b"
    return write_tree_bundle(path, n_outputs=3, task="multiclass", link=LinkEntry("softmax"), classes=CLASSES)


@pytest.fixture(scope="session")
def model(tree_bundle):
    return mlrf.load(tree_bundle)


@pytest.fixture(scope="session")
def class_model(class_bundle):
    return mlrf.load(class_bundle)


@pytest.fixture(scope="session")
def table():
    """40 rows of `ALL_KINDS`, some without a price."""
    rng = np.random.default_rng(2)
    table = rng.normal(size=(40, 7))
    table[:, 1:2] = rng.integers(9, size=(40, 1))
    table[:, 2:3] = rng.integers(2, size=(40, 1))
    table[:, 3:6] = rng.integers(3, size=(40, 3))
    table[::5, 0] = np.nan
    return table
