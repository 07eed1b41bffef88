"""Names of bundles: a directory, REPOSITORY/NAME or REPOSITORY/NAME@VERSION."""

from __future__ import annotations

import pytest

from bundles import write_tree_bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.named_bundle import open_bundle, open_model_directory, version_directory
from mlrf.core.publishing import publish


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A bundle, a repository of one model in two versions, and one of two models."""
    folder = tmp_path_factory.mktemp("named")
    for seed, name in enumerate(("one", "two")):
        publish(write_tree_bundle(folder / name, name=name, seed=seed), folder / "several")
        publish(write_tree_bundle(folder / f"sales {name}", name="sales", seed=seed), folder / "models")
    return folder


@pytest.mark.parametrize(
    ("name", "model"), [("one", "one"), ("models", "sales"), ("models/sales", "sales"), ("models/sales@1", "sales")]
)
def test_a_name_opens_its_bundle(home, name, model):
    assert open_bundle(home / name).name == model


def test_the_named_version_is_opened_and_else_the_current_one(home):
    first, second = (open_bundle(home / f"models/sales@{number}").version for number in (1, 2))
    assert first != second
    assert open_bundle(home / "models/sales").version == second
    assert version_directory(home / "models/sales@1") == home / "models/sales/1"
    assert version_directory(home / "models/sales") == home / "models/sales"


def test_a_repository_of_several_models_asks_for_one_of_them(home):
    for opened in (open_bundle, open_model_directory):
        with pytest.raises(ConfigError, match=r"of several models; name one of \S+/several/one, \S+/several/two"):
            opened(home / "several")


def test_what_is_no_model_of_a_repository_is_refused(home):
    with pytest.raises(ConfigError, match="is not a model of a repository; name one as REPOSITORY/NAME"):
        open_model_directory(home / "one")
    with pytest.raises(BundleError):
        open_bundle(home / "absent@1")
