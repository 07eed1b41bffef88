"""Models of random trees, opened from their bundles as anybody would."""

from __future__ import annotations

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
