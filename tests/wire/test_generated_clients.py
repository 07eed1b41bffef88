"""Clients that code generators make of the served OpenAPI document, and call a real server with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from client_environment import GENERATORS, needs_generators
from mlrf.core.manifest import LinkEntry
from raw_http import Client
from running import serving

SUITES = Path(__file__).parents[1] / "clients"
KEY = {"shop": "a", "sku": 7}
CLASSIFIER = {"task": "binary", "link": LinkEntry("sigmoid"), "classes": ["no", "yes"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server, and what the tests of a suite get of it."""
    folder = tmp_path_factory.mktemp("generated")
    paths = [
        write_tree_bundle(folder / "sample", key={"shop": "string", "sku": "integer"}),
        write_tree_bundle(folder / "binary", name="binary", **CLASSIFIER),
    ]
    options = ["--state-dir", str(folder / "state"), "--admin", f"unix:{folder / 'admin.sock'}"]
    with serving(*paths, options=options) as server:
        features = ALL_KINDS.example()
        stored = {"key": KEY, "features": features | {"price": -1.5}, "as_of": "2026-02-01T00:00:00Z"}
        with Client(folder / "admin.sock") as admin:
            assert admin.ask("POST", "/admin/models/sample/features", {"rows": [stored]}).status == 200
        row = [9.5, 3, True, 1, 1, 7, 0.25]
        predictions = {
            "instance": server.ask("POST", "/predict", {"features": row}).json["prediction"],
            "key": server.ask("POST", "/predict", {"key": KEY}).json["prediction"],
        }
        label = server.ask("POST", "/models/binary/predict", {"features": row}).json["label"]
        yield (
            server,
            {
                "address": f"127.0.0.1:{server.port}",
                "instance": features,
                "row": row,
                "key": KEY,
                "predictions": predictions,
                "label": label,
            },
        )
        assert server.troubles == []


@pytest.fixture(scope="module")
def document(served, tmp_path_factory):
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(served[0].ask("GET", "/openapi.json").body)
    return path


def run(*arguments, **options):
    done = subprocess.run(
        [str(each) for each in arguments], capture_output=True, text=True, timeout=300, check=False, **options
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def ask(suite, target, package):
    assert run(GENERATORS / "python", SUITES / suite, json.dumps(target | {"package": str(package)})) == (
        "every client was answered\n"
    )


@needs_generators
def test_openapi_python_client_generates_a_working_client(served, document, tmp_path):
    package = tmp_path / "mlrf_attrs"
    command = ["openapi-python-client", "generate", "--path", document, "--output-path", package, "--meta", "none"]
    output = run(GENERATORS / command[0], *command[1:], env={"PATH": str(GENERATORS)})
    # CSV is the one thing that it does not know.
    assert output.count("WARNING") == output.count("Unsupported content type text/csv")
    ask("generated_attrs.py", served[1], package)


@needs_generators
def test_openapi_generator_generates_a_client_that_is_answered(served, document, tmp_path):
    command = ["generate", "-i", document, "-g", "python", "-o", tmp_path, "--package-name", "mlrf_pydantic"]
    run(GENERATORS / "openapi-generator-cli", *command)
    ask("generated_pydantic.py", served[1], tmp_path / "mlrf_pydantic")
