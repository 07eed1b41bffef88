"""`mlrf deploy kserve`: manifests that the SDK's classes take, whose names and formats agree with the server's."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from changed_documents import changed
from client_environment import PYTHON, needs_clients
from mlrf.cli import main
from mlrf.deploy.templates import ROOT
from mlrf.serving.config.loader import read_settings
from mlrf.serving.processes import build_at_start

JUDGE = Path(__file__).parents[2] / "clients/manifests_kserve.py"
OWN = ("clusterservingruntime", "servingruntime", "inferenceservice", "canary", "raw", "grpc")
PLANTED = {
    "ClusterServingRuntime": {
        "unknown": (("spec", "unknownField"), 1),
        "wrong": (("spec", "supportedModelFormats", 0, "autoSelect"), "yes"),
        "missing": (("spec", "containers"), None),
    },
    "ServingRuntime": {
        "unknown": (("spec", "containers", 0, "imagePolicy"), "Always"),
        "wrong": (("spec", "containers"), {}),
        "missing": (("spec", "containers", 0, "name"), None),
    },
    "InferenceService": {
        "unknown": (("spec", "predictor", "model", "format"), "mlrf"),
        "wrong": (("spec", "predictor", "minReplicas"), "2"),
        "missing": (("spec", "predictor", "model", "ports", 0, "containerPort"), None),
    },
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    out = tmp_path_factory.mktemp("deploy") / "kserve"
    options = ["--name", "sales", "--image", "registry.example/mlrf:1", "--storage-uri", "s3://models/sales"]
    assert main(["deploy", "kserve", "-o", str(out), "--namespace", "ml", *options]) == 0
    return {file.stem: yaml.safe_load(file.read_text()) for file in out.iterdir()}


def judged(documents):
    done = subprocess.run(
        [PYTHON, JUDGE], input=json.dumps(documents), capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout.splitlines()[-1])


@needs_clients
def test_the_classes_of_the_sdk_read_and_write_every_manifest(documents):
    assert judged([documents[name] for name in OWN]) == [[]] * len(OWN)


@needs_clients
def test_planted_errors_are_found(documents):
    kinds = {documents[name]["kind"]: documents[name] for name in OWN}
    assert kinds.keys() == PLANTED.keys()
    planted = [changed(kinds[kind], *each) for kind, errors in PLANTED.items() for each in errors.values()]
    found = judged(planted)
    assert len(found) == 9
    assert [number for number, errors in enumerate(found) if not errors] == []


@pytest.mark.parametrize("version", ["1.30", "1.34", "1.37"])
def test_the_job_is_valid(version, documents):
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(documents["job"], version, strict=True)
    for path, value in (
        (("spec", "template", "spec", "unknownField"), 1),
        (("spec", "backoffLimit"), "none"),
        (("spec", "template"), None),
    ):
        with pytest.raises(validate.ValidationError):
            validate.validate(changed(documents["job"], path, value), version, strict=True)


def test_both_runtimes_are_the_same(documents):
    assert documents["clusterservingruntime"]["spec"] == documents["servingruntime"]["spec"]


def test_bundles_alone_are_chosen_without_being_asked_for(documents):
    formats = documents["clusterservingruntime"]["spec"]["supportedModelFormats"]
    assert {each["name"]: each["autoSelect"] for each in formats} == {
        "mlrf": True, "lightgbm": False, "xgboost": False, "catboost": False, "sklearn": False, "onnx": False,
    }  # fmt: skip
    for name in ("inferenceservice", "canary", "grpc"):
        assert documents[name]["spec"]["predictor"]["model"]["modelFormat"] == {"name": "mlrf"}


def test_the_server_takes_the_arguments_of_the_runtime(documents):
    container = documents["clusterservingruntime"]["spec"]["containers"][0]
    assert container["name"] == "kserve-container"
    command, *arguments = [each.replace("{{.Name}}", "sales") for each in container["args"]]
    assert command == "serve"
    settings = read_settings([*arguments, "bundle"], {each["name"]: each["value"] for each in container["env"]})
    assert (settings.model_name, settings.port, settings.grpc.grpc_port) == ("sales", 8080, 9000)
    probe = container["readinessProbe"]
    assert (probe["httpGet"]["path"], probe["httpGet"]["port"]) == ("/readyz", settings.port)
    for name in ("inferenceservice", "canary", "raw", "grpc"):
        seconds = documents[name]["spec"]["predictor"]["terminationGracePeriodSeconds"]
        assert seconds >= settings.shutdown_delay_s + settings.drain_timeout_s + 5
    assert documents["grpc"]["spec"]["predictor"]["model"]["ports"][0]["containerPort"] == settings.grpc.grpc_port


def test_the_server_takes_the_arguments_of_a_model_file(documents):
    container = documents["clusterservingruntime"]["spec"]["containers"][0]
    model = documents["raw"]["spec"]["predictor"]["model"]
    _, *arguments = [each.replace("{{.Name}}", "sales") for each in [*container["args"], *model["args"]]]
    assert read_settings([*arguments, "bundle"], {}).build_at_start
    assert model["runtime"] == documents["clusterservingruntime"]["metadata"]["name"]


def test_the_liveness_probe_waits_for_the_start(documents):
    """Nothing listens while a bundle is loaded, or built: a probe that fails meanwhile restarts the container for ever."""
    runtime = documents["clusterservingruntime"]["spec"]["containers"][0]["livenessProbe"]
    assert runtime["initialDelaySeconds"] >= 120
    raw = documents["raw"]["spec"]["predictor"]["model"]["livenessProbe"]
    assert raw["initialDelaySeconds"] > build_at_start._LIMIT_S
    assert raw["httpGet"] == runtime["httpGet"]


def test_the_canary_changes_the_bundle_and_the_share_alone(documents):
    canary, stable = copy.deepcopy(documents["canary"]), documents["inferenceservice"]
    del canary["spec"]["predictor"]["canaryTrafficPercent"]
    canary["spec"]["predictor"]["model"]["storageUri"] = stable["spec"]["predictor"]["model"]["storageUri"]
    assert canary == stable


def test_the_job_asks_mlrf_build_for_options_that_it_has(documents, capsys):
    container = documents["job"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][:2] == ["mlrf", "build"]
    assert main(["build", "--help"]) == 0
    stdout = capsys.readouterr().out
    assert all(option in stdout for option in container["command"] if option.startswith("--"))


def test_no_name_of_the_examples_is_left(documents):
    assert "example-" not in json.dumps(documents)
    assert {file.stem for file in (ROOT / "kserve").iterdir()} == documents.keys()


REQUIRED = ["--name", "sales", "--image", "registry.example/mlrf:1"]


def test_addresses_without_an_option_stand_beside_the_bundles(tmp_path):
    options = [*REQUIRED, "--storage-uri", "s3://models/sales/"]
    assert main(["deploy", "kserve", "-o", str(tmp_path / "out"), *options]) == 0
    addresses = {
        name: yaml.safe_load((tmp_path / f"out/{name}.yaml").read_text())["spec"]["predictor"]["model"]["storageUri"]
        for name in ("inferenceservice", "raw", "canary")
    }
    assert addresses == {
        "inferenceservice": "s3://models/sales/", "raw": "s3://models/sales.txt", "canary": "s3://models/sales-next",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--storage-uri", "s3://key:secret@models/sales"),
        ("--storage-uri", "S3://models/sales"),
        ("--storage-uri", "s3://models/sales:"),
        ("--canary-uri", ""),
        ("--raw-uri", "model.txt"),
        ("--model-file", ".."),
        ("--model-file", "../model.txt"),
    ],
)
def test_values_that_kserve_cannot_use_name_the_option(option, value, tmp_path, capsys):
    options = {"--storage-uri": "s3://models/sales"} | {option: value}
    given = [part for pair in options.items() for part in pair]
    assert main(["deploy", "kserve", "-o", str(tmp_path / "out"), *REQUIRED, *given]) == 2
    assert f"{option}: {value!r} is not " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
