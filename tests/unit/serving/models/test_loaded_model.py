"""What the shared answers of a loaded model depend on, and what its first requests wait for."""

from __future__ import annotations

import gc

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models import loaded_model
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.routes import layout
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.worker_meter import WorkerMeter


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


@pytest.mark.parametrize(("n_features", "n_compiled"), [(3, 1), (300, 0)])
def test_the_first_request_of_a_platform_compiles_no_decoder_of_a_wide_model(tmp_path, n_features, n_compiled):
    schema = Schema(tuple(Feature(f"x{i}") for i in range(n_features)))
    bundle = read_bundle(write_tree_bundle(tmp_path / "wide", schema=schema))
    routes = layout([bundle.name])
    meter = WorkerMeter(routes, ControlBlock(1, routes.n_words).row(0))
    served = loaded_model.LoadedModel(bundle, ServeSettings((bundle.path,)), meter)

    def n_decoders():
        return sum(type(each) is RowDecoder for each in gc.get_objects())

    before = n_decoders()
    predict = served.platforms.handler("kserve_v1", "predict")
    assert b"predictions" in predict(b'{"instances": [[%b]]}' % b",".join([b"0.5"] * n_features))
    assert n_decoders() - before == n_compiled
