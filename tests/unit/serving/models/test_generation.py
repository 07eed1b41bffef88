"""What a generation says of its readiness, and that what it opened is closed with it, without the garbage collector."""

from __future__ import annotations

import gc
import weakref

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import ConfigError, NotReadyError
from mlrf.engines.selection import open_engine
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.default_model import default_name
from mlrf.serving.models.service import Service
from mlrf.serving.routes import layout
from mlrf.serving.telemetry.worker_meter import WorkerMeter


class Exposition:
    def set_bundles(self, bundles):
        pass

    def set_refused(self, refused):
        pass

    def total(self, *_names):
        return 0

    def answer(self, _body):
        return b""


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def service(tmp_path):
    path = write_tree_bundle(tmp_path / "b", schema=NUMBERS)
    counts = layout(["sample"])
    meter = WorkerMeter(counts, memoryview(bytearray(8 * counts.n_words)).cast("Q"))
    return Service([read_bundle(path)], ServeSettings((path,)), meter, Exposition())


def test_ready_while_models_answer_and_no_stop_is_requested(service, tmp_path):
    assert service.generation.ready(b"") == b'{"status":"ready"}'
    # As memory that was overwritten would have it: the model answers, and otherwise than at the start.
    served = service.served_as("sample")
    sound = served.model.engine
    served.model.engine = open_engine(read_bundle(write_tree_bundle(tmp_path / "other", schema=NUMBERS, seed=8)))
    with pytest.raises(NotReadyError, match="model sample"):
        service.generation.ready(b"")
    served.model.engine = sound
    service.draining = True
    with pytest.raises(NotReadyError, match="shutting down"):
        service.generation.ready(b"")


def test_the_default_model_is_the_first_or_the_one_that_is_named():
    assert default_name(["a", "b"], None) == "a"
    assert default_name(["a", "b"], "b") == "b"
    with pytest.raises(ConfigError, match=r"no bundle is named 'c';.* a, b"):
        default_name(["a", "b"], "c")
    with pytest.raises(ConfigError, match="two bundles are named 'a'"):
        default_name(["a", "b", "a"], None)


def test_a_released_generation_closes_its_model_at_once(service, no_collector):
    model = weakref.ref(service.served_as("sample").model)
    router = service.generation.router()
    service.generation.models(b"")
    old = service.put("sample", None)
    del router
    old.release()
    del old
    assert model() is None, "a reference cycle keeps it, and the collector does not look where it is frozen"
