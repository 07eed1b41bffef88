"""docs/how-to/deploy.md: its lines run, from a LightGBM file to build contexts, rendered manifests and verified units."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import yaml

from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from mlrf.deploy.templates import ROOT
from mlrf.serving.config.settings import OPTIONS

PAGE = (Path(__file__).parents[2] / "docs/how-to/deploy.md").read_text("utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BLOCKS = [block.splitlines() for language, block in FENCED if not language]
RUN_BY_HAND = (
    *("buildah ", "podman ", "cp ", "python3 ", "/opt/mlrf/bin/pip "),
    *("install ", "systemctl ", "kubectl apply "),
)
"""What needs an engine (`make image-test`), root or a cluster."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which every line of the page was run in its order, after the build that the page begins with."""
    path = tmp_path_factory.mktemp("page")
    rows = np.random.default_rng(5).normal(size=(200, 3))
    options = {"objective": "regression", "num_leaves": 5, "verbose": -1, "num_threads": 1}
    lightgbm.train(options, lightgbm.Dataset(rows, rows[:, 0]), 3).save_model(path / "model.txt")
    (first,) = re.findall(r"`(mlrf build [^`]*)`\)", PAGE)
    lines = [first, *(line for block in BLOCKS for line in block)]
    for line in lines:
        if line.startswith(RUN_BY_HAND):
            continue
        program, *arguments = shlex.split(line)
        if program == "mlrf":
            with contextlib.chdir(path):
                assert main(arguments) == 0, line
        elif shutil.which(program) is not None:
            done = subprocess.run(
                [program, *arguments], cwd=path, capture_output=True, text=True, check=True, timeout=120
            )
            (path / "rendered.yaml").write_text(done.stdout)
    return path


def test_the_additions_to_the_service_are_valid(tmp_path):
    """systemd takes the page's drop-in, and the server the settings in its comments."""
    (addition,) = [block for language, block in FENCED if language == "ini"]
    keys = set(re.findall(r"(?:# |, )(\w+) = ", addition))
    assert keys == {"keys", "tls_cert", "tls_key"} <= {option.key for option in OPTIONS}
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    unit = tmp_path / "added.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n" + addition.replace("[Service]\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    assert [line for line in done.stderr.splitlines() if "added.service" in line] == []


def test_the_image_contexts_are_complete(folder):
    assert {file.name for file in (folder / "image").iterdir()} == {
        "Containerfile",
        "requirements.txt",
        "requirements-onnx.txt",
        "requirements-sbom.txt",
        "requirements-signing.txt",
        "requirements-stores.txt",
        "wheels",
    }
    assert read_bundle(folder / "sales-image/bundle").name == "sales"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
def test_the_manifests_are_rendered(folder):
    kinds = [each["kind"] for each in yaml.safe_load_all((folder / "rendered.yaml").read_text())]
    assert {"Deployment", "Service", "Ingress", "PrometheusRule", "Secret"} <= set(kinds)


def test_units_and_kserve_manifests_are_written(folder):
    assert {file.name for file in (folder / "units").iterdir()} == {"sales.service", "sales.socket", "sales.toml"}
    assert (folder / "kserve/inferenceservice.yaml").exists()


def test_every_overlay_component_and_file_is_on_the_page():
    names = [each.name for kind in ("overlays", "components") for each in (ROOT / "kubernetes" / kind).iterdir()]
    names += [file.name for file in (ROOT / "kserve").iterdir()]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
    for overlay in (ROOT / "kubernetes/overlays").iterdir():
        listed = re.findall(r"components/(\w+)", (overlay / "kustomization.yaml").read_text("utf-8"))
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{overlay.name}` |"))
        assert re.findall(r"`(\w+)`", row.split("|")[2]) == listed


def test_the_seconds_on_the_page_are_those_of_the_manifests():
    text = (ROOT / "kubernetes/base/deployment.yaml").read_text("utf-8")
    assert "`MLRF_SHUTDOWN_DELAY` (5 s)" in PAGE
    assert 'MLRF_SHUTDOWN_DELAY, value: "5"' in text
    assert "`terminationGracePeriodSeconds` (25)" in PAGE
    assert "terminationGracePeriodSeconds: 25" in text
