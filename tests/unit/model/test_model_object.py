"""A model as an object: its description, and copies in other threads and processes."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import re
import shutil

import cloudpickle
import joblib
import numpy as np
import pytest
from joblib.externals import loky

import mlrf
from bundles import write_tree_bundle
from mlrf.core.errors import BundleError


def unpickled(kept):
    return pickle.loads(kept)  # noqa: S301  what this test pickled


@pytest.mark.parametrize("copied", [
    copy.copy,
    copy.deepcopy,
    lambda model: unpickled(pickle.dumps(model)),
    lambda model: unpickled(cloudpickle.dumps(model)),
])  # fmt: skip
def test_copies_answer_with_the_same_bits(class_model, table, copied):
    twin = copied(class_model)
    assert twin.margin(table).tobytes() == class_model.margin(table).tobytes()
    assert twin.label(table) == class_model.label(table)
    assert (twin.bundle.version, twin.engine.name) == (class_model.bundle.version, class_model.engine.name)


def test_a_copy_keeps_the_engine(class_bundle):
    model = mlrf.load(class_bundle, engine="onnxruntime")
    assert unpickled(pickle.dumps(model)).engine.name == "onnxruntime"


def test_a_pickle_holds_no_trees(class_model):
    assert len(pickle.dumps(class_model)) < 1000


def test_joblib_writes_and_reads_a_model(model, table, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    assert joblib.load(tmp_path / "model.joblib").margin(table).tobytes() == model.margin(table).tobytes()


def test_other_processes_answer_with_the_same_bits(model, table):
    expected = model.margin(table).tobytes()
    with loky.ProcessPoolExecutor(1) as pool:
        assert pool.submit(mlrf.Model.margin, model, table).result(120).tobytes() == expected
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(mlrf.Model.margin, model, table).result(120).tobytes() == expected


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_child_answers_with_the_same_bits(model, table):
    expected = model.margin(table).tobytes()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, model.margin(table).tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() == expected
    assert os.waitpid(child, 0)[1] == 0


def test_threads_answer_with_the_same_bits(model, table):
    many = np.tile(table, (50, 1))
    expected = model.margin(many).tobytes()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: model.margin(many).tobytes(), range(20))) == {expected}


def test_another_version_in_its_place_is_refused(tmp_path):
    kept = pickle.dumps(mlrf.load(write_tree_bundle(tmp_path / "b", seed=1)))
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(BundleError, match=r"pickled model opens its bundle again: version [0-9a-f]{12} must be at"):
        unpickled(kept)
    write_tree_bundle(tmp_path / "b", seed=2)
    with pytest.raises(BundleError, match=r"the pickled model is version [0-9a-f]{12} of its bundle, and version"):
        unpickled(kept)


def test_damaged_bytes_in_its_place_are_refused(tmp_path):
    path = write_tree_bundle(tmp_path / "b")
    kept = pickle.dumps(mlrf.load(path))
    forest = path / "forest.bin"
    forest.write_bytes(forest.read_bytes()[:-1] + b"\xff")
    with pytest.raises(BundleError, match="altered"):
        unpickled(kept)


def test_a_model_describes_itself(model, class_model):
    assert re.fullmatch(
        r"<mlrf Model sample [0-9a-f]{12}: unknown library regression, 7 features, 8 trees, 16 leaves, engine trees>",
        repr(model),
    )
    page = class_model._repr_html_()
    for shown in ("a, 2, True", "depth", "categorical: &quot;north&quot;, &quot;süd&quot;", "refused", "multiclass"):
        assert shown in page
