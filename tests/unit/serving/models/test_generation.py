"""That what a generation opened is closed with it, without waiting for the garbage collector."""

from __future__ import annotations

import gc
import weakref

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.serving.config.settings import ServeSettings
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

    def text(self):
        return b""


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_released_generation_closes_its_model_at_once(tmp_path, no_collector):
    path = write_tree_bundle(tmp_path / "b", schema=NUMBERS)
    counts = layout(["sample"])
    meter = WorkerMeter(counts, memoryview(bytearray(8 * counts.n_words)).cast("Q"))
    service = Service([read_bundle(path)], ServeSettings((path,)), meter, Exposition())
    model = weakref.ref(service.served_as("sample").model)
    router = service.generation.router()
    service.generation.models(b"")
    old = service.put("sample", None)
    del router
    old.release()
    del old
    assert model() is None, "a reference cycle keeps it, and the collector does not look where it is frozen"
