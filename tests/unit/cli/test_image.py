"""`mlrf image` and `mlrf deploy container`: build contexts."""

from __future__ import annotations

import stat

import pytest

from bundles import write_bundle, write_tree_bundle
from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish
from mlrf.deploy.templates import ROOT


def test_an_image_context_holds_the_bundle_readable_by_all(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle", name="sales")
    for file in bundle.iterdir():
        file.chmod(0o600)
    out = tmp_path / "context"
    assert main(["image", str(bundle), "-o", str(out), "--base", "here/mlrf:9"]) == 0
    assert read_bundle(out / "bundle").version == read_bundle(bundle).version
    assert {stat.S_IMODE(file.stat().st_mode) for file in (out / "bundle").iterdir()} == {0o644}
    text = (out / "Containerfile").read_text()
    assert "ARG MLRF_IMAGE=here/mlrf:9\n" in text
    assert "COPY bundle /opt/ml/model\n" in text
    assert f'image.version="{read_bundle(bundle).short_version}"' in text
    shown = capsys.readouterr().out
    assert "sales" in shown
    # Its only model is an ONNX file.
    assert "build here/mlrf:9 with --build-arg REQUIREMENTS=requirements-onnx.txt" in shown


def test_an_image_of_trees_needs_no_onnx_runtime(tmp_path, capsys):
    bundle = write_tree_bundle(tmp_path / "bundle", name="sales")
    assert main(["image", str(bundle), "-o", str(tmp_path / "context")]) == 0
    assert "requirements-onnx" not in capsys.readouterr().out
    for name, has in (("requirements.txt", False), ("requirements-onnx.txt", True)):
        assert ("onnxruntime==" in (ROOT / "container" / name).read_text("utf-8")) is has


def test_an_image_is_made_of_a_model_in_a_repository(tmp_path):
    publish(write_bundle(tmp_path / "bundle", name="sales"), tmp_path / "models")
    assert main(["image", str(tmp_path / "models/sales@1"), "-o", str(tmp_path / "context")]) == 0
    assert read_bundle(tmp_path / "context/bundle").name == "sales"


def test_a_damaged_bundle_is_put_into_no_image(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "schema.json").write_text("{}")
    assert main(["image", str(bundle), "-o", str(tmp_path / "context")]) == 3
    assert not (tmp_path / "context").exists()
    assert "schema.json" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["deploy", "container"], ["image", "BUNDLE"]])
def test_a_directory_with_files_is_not_written_into(command, tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    arguments = [str(bundle) if each == "BUNDLE" else each for each in command]
    assert main([*arguments, "-o", str(bundle)]) == 2
    assert "not an empty directory" in capsys.readouterr().err


@pytest.mark.parametrize("base", ["", "mlrf 1", "mlrf:1\nRUN true", "MLRF:1"])
def test_a_base_that_names_no_image_is_refused(base, tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    assert main(["image", str(bundle), "-o", str(tmp_path / "context"), "--base", base]) == 2
    assert f"--base: {base!r} is not an image" in capsys.readouterr().err
    assert not (tmp_path / "context").exists()


def test_a_bundle_is_not_copied_into_itself(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    before = sorted(bundle.iterdir())
    assert main(["image", str(bundle), "-o", str(bundle / "deep/context")]) == 2
    assert "is inside the bundle" in capsys.readouterr().err
    assert sorted(bundle.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "tag"), [("Sales.v2", "sales.v2"), ("_x", "x"), ("a..B-_c", "a.b_c"), ("__", "model")]
)
def test_the_advised_tag_is_one_that_engines_take(name, tag, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", name=name)
    assert main(["image", str(bundle), "-o", str(tmp_path / "context")]) == 0
    text = (tmp_path / "context/Containerfile").read_text()
    assert f"--tag {tag}:{read_bundle(bundle).short_version} " in text
    assert f'image.title="{name}"' in text
