"""Detection of a model's library, and the errors for unknown models."""

from __future__ import annotations

import gzip
import os
import pickle
import pkgutil
import struct
from pathlib import Path

import catboost
import joblib
import lightgbm
import numpy as np
import pytest
import sklearn
import xgboost
from sklearn.ensemble import VotingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from mlrf import build
from mlrf.builder import importers
from mlrf.builder import model_source as source_module
from mlrf.builder.importers import onnx_trees
from mlrf.builder.importers.detect import LIBRARIES, import_model, recognise
from mlrf.builder.model_source import ModelFile, ModelObject
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is not a model\n", "text that begins with 'hello, this "),
        (b"{}", "text that begins with '{}'"),
        (b"\x00\x01\x02\xff" * 100, "begins with the bytes 00 01 02 ff"),
        (b"PAR1" + bytes(100), "begins with the bytes 50 41 52 31 00"),
        (b"\xef\xbb\xbftree\n", "begins with the bytes ef bb bf"),
    ],
)
def test_unknown_formats_are_refused_with_a_description(tmp_path, content, message):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelUnreadableError, match=message):
        import_model(tmp_path / "m")


def test_every_importer_is_found():
    packages = {each.name for each in pkgutil.iter_modules(importers.__path__) if each.ispkg}
    assert {library.read.__module__.split(".")[3] for library in LIBRARIES} == packages - {"onnx_graph", "onnx_steps"}


@pytest.mark.parametrize(
    ("model", "package"),
    [
        (xgboost.XGBRegressor(), "xgboost"),
        (lightgbm.LGBMRegressor(), "lightgbm"),
        (catboost.CatBoostRegressor(), "catboost"),
        (DecisionTreeRegressor(), "sklearn"),
        (VotingRegressor([("tree", DecisionTreeRegressor())]), "combination"),
        (make_pipeline(StandardScaler(), xgboost.XGBRegressor()), "pipeline"),
    ],
)
def test_what_inherits_from_scikit_learn_is_read_by_its_own_importer(model, package):
    assert recognise(ModelObject(model)).read.__module__.split(".")[3] == package


def test_a_file_that_could_be_onnx_too_is_read_by_the_other_importer():
    base_score = b"\x08\x07\x12\x3f"  # 0.57: the first bytes of an ONNX model are possible too
    name = b"reg:squarederror"
    old_binary = base_score + bytes(132) + struct.pack("<Q", len(name)) + name + struct.pack("<Q", 6) + b"gbtree"
    assert onnx_trees.LIBRARY.recognises(old_binary)
    assert recognise(ModelFile(Path("m"), old_binary)).name == "XGBoost"


def test_paths_that_lead_to_no_file(tmp_path, monkeypatch):
    with pytest.raises(ModelUnreadableError, match="does not exist"):
        import_model(tmp_path / "absent")
    with pytest.raises(ModelUnreadableError, match="without an MLmodel file"):
        import_model(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelUnreadableError, match="not a regular file"):
        import_model(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"tree\n" * 3)
    monkeypatch.setattr(source_module, "MAX_MODEL_BYTES", 10)
    with pytest.raises(ModelUnreadableError, match="larger than"):
        import_model(tmp_path / "huge")


@pytest.mark.parametrize("thing", [3, None, object()])
def test_an_object_of_no_library_is_refused(thing):
    with pytest.raises(UnsupportedModelError, match=f"not from builtins.{type(thing).__name__}"):
        import_model(thing)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_runs_nothing_unless_it_is_allowed(tmp_path, protocol):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran"), protocol))
    with pytest.raises(UnsupportedModelError, match=r"is a pickle.*--allow-pickle"):
        import_model(tmp_path / "m.pkl")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UnsupportedModelError, match="NoneType"):
        import_model(tmp_path / "m.pkl", allow_pickle=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3), ("zlib", 9)])
def test_joblib_files_are_pickles_too(tmp_path, how, booster):
    joblib.dump(booster, tmp_path / "m.joblib", compress=how)
    with pytest.raises(UnsupportedModelError, match="--allow-pickle"):
        import_model(tmp_path / "m.joblib")
    assert import_model(tmp_path / "m.joblib", allow_pickle=True).library == "lightgbm"


def test_a_damaged_pickle_is_one_sentence(tmp_path):
    for content in (pickle.dumps([1, 2, 3])[:-4], b"\x80\x04cnowhere\nnothing\n.", gzip.compress(b"\x80\x04no")):
        (tmp_path / "m.pkl").write_bytes(content)
        with pytest.raises(
            ModelUnreadableError, match=r"cannot be read here.*install the packages that it was made with"
        ):
            import_model(tmp_path / "m.pkl", allow_pickle=True)


@pytest.mark.parametrize("around", [lambda model: {"model": model}, lambda model: [model, 1], lambda model: (model,)])
def test_containers_of_models_are_refused(tmp_path, around, booster):
    joblib.dump(around(booster), tmp_path / "m.joblib")
    with pytest.raises(
        UnsupportedModelError, match=r"this is a (dict|list|tuple) of [12] objects; take the model out of it"
    ):
        import_model(tmp_path / "m.joblib", allow_pickle=True)


def test_a_cross_validations_boosters_are_built_one_by_one():
    data = lightgbm.Dataset(np.arange(40.0)[:, None], np.arange(40.0), params={"min_data_in_leaf": 1, "verbosity": -1})
    several = lightgbm.cv({"verbosity": -1}, data, 2, nfold=2, stratified=False, return_cvbooster=True)["cvbooster"]
    with pytest.raises(UnsupportedModelError, match="a CVBooster contains the 2 models of a cross-validation"):
        import_model(several)
    assert import_model(several.boosters[0]).library == "lightgbm"


def test_old_wrapper_pickle_counts_as_fitted():
    rows = np.arange(40.0)[:, None]
    model = lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=1, verbosity=-1).fit(rows, rows[:, 0] > 20)
    for mark in ("fitted_", "_fitted"):
        vars(model).pop(mark, None)  # as LightGBM 2 left it
    assert not hasattr(model, "booster_")
    assert import_model(model).classes == (False, True)
    with pytest.raises(ModelUnreadableError, match="is not fitted"):
        import_model(lightgbm.LGBMClassifier())


ML_MODEL = """artifact_path: model
flavors:
  lightgbm:
    code: null
    data: {file}
    lgb_version: 4.6.0
    model_class: lightgbm.basic.Booster
  python_function:
    data: {file}
    env:
      conda: conda.yaml
    loader_module: mlflow.lightgbm
mlflow_version: 3.1.0
model_size_bytes: 1
"""


def test_an_mlflow_directory_names_its_file(tmp_path, booster):
    (tmp_path / "MLmodel").write_text(ML_MODEL.format(file="model.lgb"))
    with pytest.raises(ModelUnreadableError, match=r"'model\.lgb', which is not a file of it"):
        import_model(tmp_path)
    booster.save_model(tmp_path / "model.lgb")
    assert import_model(tmp_path).library == "lightgbm"
    (tmp_path / "MLmodel").write_text(ML_MODEL.format(file="../../etc/passwd"))
    with pytest.raises(ModelUnreadableError, match="not a file of it"):
        import_model(tmp_path)
    (tmp_path / "MLmodel").write_text("flavors:\n  keras:\n    data: data\n  python_function:\n    env: x\n")
    with pytest.raises(UnsupportedModelError, match="it has keras, python_function"):
        import_model(tmp_path)


def test_dumps_and_containers_in_memory_are_named(tmp_path, booster):
    found = []
    for given in (booster.dump_model(), {"best": booster}, ["0:[f0<0.5] yes=1,no=2,missing=1\n"]):
        with pytest.raises(UnsupportedModelError) as refused:
            build(given, tmp_path / "out", name="m")
        found.append(str(refused.value))
    assert "the dict is a dump of LightGBM's trees" in found[0]
    assert "mlrf.build(models['best'], …)" in found[1]
    assert "the list is a dump of XGBoost's trees" in found[2]


def _pickled_by(version, fitted):
    """Return the pickle of an estimator as another version of scikit-learn would have written it."""
    return pickle.dumps(fitted).replace(sklearn.__version__.encode(), version.encode().ljust(len(sklearn.__version__)))


@pytest.fixture(scope="module")
def small_tree():
    return DecisionTreeRegressor(max_depth=1, random_state=0).fit([[0.0], [1.0]], [0.0, 1.0])


def test_a_pickle_of_another_scikit_learn_is_read_with_one_note_and_no_warning(tmp_path, small_tree, recwarn):
    (tmp_path / "m.pkl").write_bytes(_pickled_by("1.8.0", small_tree))
    imported = import_model(tmp_path / "m.pkl", allow_pickle=True)
    assert imported.notes == (
        f"scikit-learn 1.8.0 wrote the pickle; its answers here are those of scikit-learn {sklearn.__version__}",
    )
    assert not recwarn.list
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(small_tree))
    assert import_model(tmp_path / "m.pkl", allow_pickle=True).notes == ()


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_that_cannot_be_read_names_the_scikit_learn_that_wrote_it(tmp_path, small_tree, protocol):
    damaged = pickle.dumps(small_tree, protocol).replace(b"DecisionTreeRegressor", b"DecisionTreeRegretter")
    (tmp_path / "m.pkl").write_bytes(damaged)
    with pytest.raises(
        ModelUnreadableError, match=rf"packages that it was made with \(scikit-learn {sklearn.__version__}\), or load"
    ):
        import_model(tmp_path / "m.pkl", allow_pickle=True)
