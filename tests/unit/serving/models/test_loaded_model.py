"""What the shared answers of a loaded model depend on."""

from __future__ import annotations

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models import loaded_model


@pytest.fixture
def secret(tmp_path):
    path = write_tree_bundle(tmp_path / "b", schema=NUMBERS)

    def secret(**options):
        return loaded_model._cache_namespace(read_bundle(path), ServeSettings((path,), **options)).secret

    return secret


def test_servers_of_one_version_and_options_share_answers(secret):
    assert secret() == secret(port=1, workers=1)


@pytest.mark.parametrize(
    "option",
    [
        {"max_batch": 7},
        {"max_infer_rows": 7},
        {"strict": True},
        {"unknown_features": "ignore"},
        {"unknown_categories": "missing"},
    ],
)
def test_servers_with_other_options_do_not(secret, option):
    assert secret(**option) != secret()


def test_another_version_of_mlrf_does_not(secret, monkeypatch):
    """Its responses may have other fields, and an answer is kept for a day."""
    before = secret()
    monkeypatch.setattr(loaded_model, "__version__", "0.0.9", raising=False)
    assert secret() != before
