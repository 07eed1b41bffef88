"""Manifests of kinds that Kubernetes does not know by itself, held to the types that npm has of them.

Two checks: TypeScript finds unknown fields, the schemas find wrong values and missing fields.
"""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from changed_documents import changed
from client_environment import PYTHON
from mlrf.cli import main

MODULES = PYTHON.parents[1] / "node_modules"
PACKAGES = {
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1",
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "HTTPRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
}
WRONG = {
    "ScaledObject": (("spec", "maxReplicaCount"), "ten"),
    "ServiceMonitor": (("spec", "endpoints"), "http"),
    "PrometheusRule": (("spec", "groups", 0, "rules"), {}),
    "HTTPRoute": (("spec", "rules", 0, "backendRefs", 0, "port"), "80"),
}
MISSING = {
    "ScaledObject": ("spec", "scaleTargetRef"),
    "ServiceMonitor": ("spec", "selector"),
    "PrometheusRule": ("spec", "groups", 0, "rules", 0, "expr"),
    "HTTPRoute": ("spec", "rules", 0, "backendRefs", 0, "name"),
}
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not MODULES.is_dir(), reason="no .venv-clients/node_modules: run `make clients`"),
]


@pytest.fixture(scope="module")
def resources(tmp_path_factory):
    out = tmp_path_factory.mktemp("deploy") / "k8s"
    assert main(["deploy", "kubernetes", "-o", str(out), "--name", "sales", "--image", "sales:1"]) == 0
    found = {}
    for overlay in ("production", "keda", "gateway"):
        command = ["kubectl", "kustomize", out / "overlays" / overlay]
        rendered = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
        found |= {each["kind"]: each for each in yaml.safe_load_all(rendered) if each["kind"] in PACKAGES}
    assert found.keys() == PACKAGES.keys()
    return found


@pytest.fixture(scope="module")
def judged(resources, tmp_path_factory):
    """The findings of both checks for every resource, and for each error planted in it."""
    cases = {}
    for kind, document in resources.items():
        cases[f"{kind} sound"] = document
        cases[f"{kind} unknown"] = changed(document, ("spec", "unknownField"), 1)
        cases[f"{kind} wrong"] = changed(document, *WRONG[kind])
        cases[f"{kind} missing"] = changed(document, MISSING[kind], None)
    folder = tmp_path_factory.mktemp("judges")
    (folder / "node_modules").symlink_to(MODULES)
    return {name: [] for name in cases} | schema_errors(cases, folder) | unknown_fields(cases, folder)


def schema_errors(cases, folder):
    script = "const failed = {};\n"
    for name, document in cases.items():
        kind = document["kind"]
        script += f"try {{ const {{ {kind} }} = await import({json.dumps(PACKAGES[kind])}); new {kind}({json.dumps(document)}).validate() }}\n"
        script += f"catch (error) {{ failed[{json.dumps(name)}] = [error.message] }}\n"
    (folder / "schemas.mjs").write_text(script + "console.log(JSON.stringify(failed))\n")
    done = subprocess.run(["node", "schemas.mjs"], cwd=folder, check=True, capture_output=True, timeout=120)
    return json.loads(done.stdout)


def unknown_fields(cases, folder):
    """What TypeScript says of the documents as literals: only those planted with an unknown field, and those as they are."""
    names = [name for name in cases if name.endswith((" unknown", " sound"))]
    for number, name in enumerate(names):
        kind = cases[name]["kind"]
        text = (
            f'import {{ I{kind} }} from "{PACKAGES[kind]}/{kind}";\nconst made: I{kind} = {json.dumps(cases[name])};\n'
        )
        (folder / f"case{number}.ts").write_text(text)
    flags = ["--noEmit", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext"]
    files = [f"case{number}.ts" for number in range(len(names))]
    done = subprocess.run(
        [MODULES / ".bin/tsc", *flags, *files], cwd=folder, check=False, capture_output=True, text=True, timeout=300
    )
    assert "TS2307" not in done.stdout, f"a type was not found: {done.stdout}"
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("case"):
            found.setdefault(names[int(line.partition(".")[0].removeprefix("case"))], []).append(line)
    return found


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_resource_is_valid(kind, judged):
    assert judged[f"{kind} sound"] == []


@pytest.mark.parametrize("error", ["unknown", "wrong", "missing"])
@pytest.mark.parametrize("kind", PACKAGES)
def test_a_planted_error_is_found(kind, error, judged):
    assert judged[f"{kind} {error}"] != []
