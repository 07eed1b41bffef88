"""Errors of calls and start-up files that advise an option or a command: done as advised, the same call succeeds."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.bundle import LinkEntry, read_bundle
from mlrf.core.errors import BundleError, ConfigError, OutputExistsError
from mlrf.core.repository import ModelDirectory
from mlrf.engines.selection import check_engine
from mlrf.scoring import score
from mlrf.serving.auth.keys import read_keys

LABELS = {"task": "binary", "link": LinkEntry("sigmoid"), "classes": ["no", "yes"], "schema": NUMBERS}


def run(*arguments: object) -> int:
    return main([str(each) for each in arguments])


def test_labels_given_or_built_make_an_estimator(tmp_path):
    unlabelled = mlrf.load(write_tree_bundle(tmp_path / "a", **LABELS))
    with pytest.raises(ConfigError, match=r"build it with them \(classes=") as refused:
        unlabelled.as_estimator()
    assert "classes=['no', 'yes']" in str(refused.value)
    assert unlabelled.as_estimator(classes=["no", "yes"]).predict([[1.0, 2.0, 3.0]])[0] in ("no", "yes")
    labelled = mlrf.load(write_tree_bundle(tmp_path / "b", predict_returns="label", **LABELS))
    assert labelled.as_estimator().predict([[1.0, 2.0, 3.0]])[0] in ("no", "yes")


def test_a_published_version_fills_an_empty_model_directory(tmp_path):
    bundle = write_tree_bundle(tmp_path / "sales", name="sales", schema=NUMBERS)
    (tmp_path / "models/sales").mkdir(parents=True)
    with pytest.raises(BundleError, match="publish one with `mlrf publish`"):
        ModelDirectory(tmp_path / "models/sales").pointer()
    assert run("publish", bundle, tmp_path / "models") == 0
    assert ModelDirectory(tmp_path / "models/sales").pointer().number == 1


def test_a_key_file_is_read_once_the_command_wrote_it(tmp_path):
    path = tmp_path / "keys"
    path.write_text("a secret\n")
    with pytest.raises(ConfigError, match="`mlrf keys` writes them"):
        read_keys(path)
    path.unlink()
    assert run("keys", path, "--add", "shop", "--scope", "predict") == 0
    assert len(read_keys(path)) == 1


def test_without_an_onnx_model_the_engine_advised_serves(tmp_path, capsys):
    bundle = write_tree_bundle(tmp_path / "sales", name="sales", schema=NUMBERS)
    manifest = json.loads((bundle / "manifest.json").read_text())
    if "model.onnx" in manifest["files"]:
        del manifest["files"]["model.onnx"]
        (bundle / "model.onnx").unlink()
    manifest["parity"].pop("onnxruntime", None)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    read = read_bundle(bundle)
    with pytest.raises(ConfigError, match=r"`mlrf inspect` says why\); use the engine trees"):
        check_engine(read, "onnxruntime")
    check_engine(read, "trees")
    assert run("inspect", bundle) == 0
    assert "model.onnx" not in capsys.readouterr().out


@pytest.fixture
def job(tmp_path):
    """A job of one input, which has been scored."""
    bundle = write_tree_bundle(tmp_path / "sales", name="sales", schema=NUMBERS)
    pq.write_table(pa.table({name: [0.5, 1.5] for name in NUMBERS.names}), tmp_path / "rows.parquet")
    arguments = (bundle, [tmp_path / "rows.parquet"])
    score(*arguments, tmp_path / "out")
    return arguments


def test_a_foreign_part_is_moved_away_or_another_out_chosen(job, tmp_path):
    part = next((tmp_path / "out").glob("part-*"))
    part.write_bytes(b"of another program")
    with pytest.raises(OutputExistsError, match="move it away, or choose another --out"):
        score(*job, tmp_path / "out")
    assert score(*job, tmp_path / "other").rows == 2
    shutil.move(part, tmp_path / "kept")
    assert score(*job, tmp_path / "out").rows == 2
    assert (tmp_path / "kept").read_bytes() == b"of another program"


def test_a_foreign_file_at_the_output_needs_another_name(job, tmp_path):
    one = tmp_path / "scored.parquet"
    one.write_bytes(b"of another program")
    with pytest.raises(OutputExistsError, match="exists and is not a file of this job"):
        score(*job, one)
    assert score(*job, tmp_path / "scored2.parquet").rows == 2
