"""Files of other formats are refused by their own names, and compressed models are read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestRegressor

from mlrf.builder.importers.detect import import_model
from mlrf.core.errors import BuildError, ModelUnreadableError, UnsupportedModelError
from wide_models import wide_model_text

_TEXT = wide_model_text(5, 2)


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def archived(mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        entry = tarfile.TarInfo("model.txt")
        entry.size = len(_TEXT)
        archive.addfile(entry, io.BytesIO(_TEXT if isinstance(_TEXT, bytes) else _TEXT.encode()))
    return buffer.getvalue()


FOREIGN = {
    "a tar archive; extract it": archived("w"),
    "tar archive": archived("w:gz"),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "Keras": zipped("config.json", "model.weights.h5"),
    "PyTorch": zipped("archive/data.pkl", "archive/version"),
    "compressed with LZ4, .*if it is not a pickle": b"\x04\x22M\x18" + bytes(40),
    "PMML": b'<?xml version="1.0"?>\n<PMML version="4.4">',
    "H2O MOJO": zipped("model.ini", "domains/d000.txt"),
    "explainable boosting": b'{"version": "1.0", "ebm": {}}',
    "Booster.dump_model": json.dumps({"name": "tree", "version": "v4", "tree_info": []}).encode(),
    "get_dump": b"0:[f0<0.5] yes=1,no=2,missing=1\n\t1:leaf=0.1\n\t2:leaf=0.2\n",
    "dump_model, get_dump": b'[\n  { "nodeid": 0, "depth": 0 }]',
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_formats_are_refused_by_their_names(tmp_path, name):
    (tmp_path / "model").write_bytes(FOREIGN[name])
    with pytest.raises(UnsupportedModelError, match=name):
        import_model(tmp_path / "model")


@pytest.mark.parametrize("name", ["TensorFlow"])
def test_directories_of_other_libraries_are_refused_by_name(tmp_path, name):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    with pytest.raises(UnsupportedModelError, match=name):
        import_model(tmp_path)
    with pytest.raises(UnsupportedModelError, match=name):
        import_model(tmp_path / "saved_model.pb")


def test_an_object_of_another_library_is_refused_by_what_it_is():
    forest = type(
        "RandomForestQuantileRegressor", (RandomForestRegressor,), {"__module__": "quantile_forest._quantile_forest"}
    )
    with pytest.raises(UnsupportedModelError, match=r"a quantile regression forest.*with a quantile loss"):
        import_model(forest())


@pytest.mark.parametrize("content", [b'{"version":[1,2]}', zipped("a.txt"), b"\x08\x01\x12"])
def test_unknown_files_are_not_called_another_librarys(tmp_path, content):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(BuildError) as refused:
        import_model(tmp_path / "model")
    assert "damaged" not in str(refused.value).partition("mlrf reads")[0]


COMPRESSIONS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zlib": zlib.compress,
    "zlib, fastest": lambda content: zlib.compress(content, 1),
    "zlib, smallest": lambda content: zlib.compress(content, 9),
    "zstd": lambda content: pa.compress(content, "zstd", asbytes=True),
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_compressed_model_is_read(tmp_path, name):
    (tmp_path / "model").write_bytes(COMPRESSIONS[name](_TEXT.encode()))
    assert import_model(tmp_path / "model").forest.n_features == 5


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_cut_compressed_model_is_refused(tmp_path, name):
    content = COMPRESSIONS[name](np.random.default_rng(0).bytes(100_000))
    (tmp_path / "model").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelUnreadableError, match=name.partition(",")[0]):
        import_model(tmp_path / "model")


def test_a_small_file_that_decompresses_to_much_is_refused(tmp_path):
    (tmp_path / "model").write_bytes(gzip.compress(bytes(80 << 20)))
    with pytest.raises(ModelUnreadableError, match="64 MiB"):
        import_model(tmp_path / "model")


def test_a_compressed_pickle_is_still_a_pickle(tmp_path):
    for compress in (gzip.compress, zlib.compress):
        (tmp_path / "model").write_bytes(compress(pickle.dumps([1])))
        with pytest.raises(UnsupportedModelError, match="is a pickle"):
            import_model(tmp_path / "model")


def test_a_zlib_stream_of_nothing_known_is_no_pickle(tmp_path):
    for content in (b"notes", np.random.default_rng(0).bytes(3 << 20), bytes(1000)):
        (tmp_path / "model").write_bytes(zlib.compress(content))
        with pytest.raises(BuildError) as refused:
            import_model(tmp_path / "model")
        assert "joblib" not in str(refused.value)


def test_model_text_may_replace_its_path():
    assert import_model(_TEXT).forest.n_features == 5


def test_invalid_model_string_is_shown_clipped():
    with pytest.raises(ModelUnreadableError) as refused:
        import_model("x" * 100_000)
    assert len(str(refused.value)) < 200


def test_text_without_tree_sizes_is_read_as_by_lightgbm():
    lines = [line for line in _TEXT.split("\n") if not line.startswith("tree_sizes=")]
    whole, bare = import_model(_TEXT), import_model("\n".join(lines))
    np.testing.assert_array_equal(bare.forest.value, whole.forest.value)
    np.testing.assert_array_equal(bare.forest.feature, whole.forest.feature)
    with pytest.raises(ModelUnreadableError, match="end of trees"):
        import_model("\n".join(lines[:40]))


@pytest.mark.parametrize(
    ("names", "message"), [(None, "does not state its feature_names"), ("feature_names=a b", "5 columns")]
)
def test_lightgbm_text_that_lacks_names_is_refused_for_that(names, message):
    lines = [names if line.startswith("feature_names=") else line for line in _TEXT.split("\n")]
    with pytest.raises(ModelUnreadableError, match=message):
        import_model("\n".join(line for line in lines if line is not None))
