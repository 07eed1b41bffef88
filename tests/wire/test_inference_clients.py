"""Unmodified clients of the Open Inference Protocol, over REST and gRPC, from the environment that `make clients` makes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from certificates import make_certificate, n_booted
from client_environment import PYTHON, needs_clients
from grpc_peer import address_of
from inference_rows import ROW, a_tensor_a_feature, native, one_tensor, some_rows
from inference_wires import CODES
from mlrf.core.bundle import read_bundle
from mlrf.model import load
from mlrf.serving.auth.keys import make_key, write_keys
from raw_http import Client
from running import serving

ROOT = Path(__file__).parents[2]
DATATYPES = ("FP64", "INT64", "BOOL", "BYTES", "INT64", "INT64", "FP64")
KEY = {"shop": "a", "sku": 7}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server, and what the tests of a suite get of it."""
    folder = tmp_path_factory.mktemp("clients")
    path = write_tree_bundle(folder / "sample", key={"shop": "string", "sku": "integer"})
    options = ["--grpc-port", "0", "--state-dir", str(folder / "state"), "--admin", f"unix:{folder / 'admin.sock'}"]
    with serving(path, options=options) as server:
        features = ALL_KINDS.example()
        stored = {"key": KEY, "features": features | {"price": -1.5}, "as_of": "2026-02-01T00:00:00Z"}
        with Client(folder / "admin.sock") as admin:
            assert admin.ask("POST", "/admin/models/sample/features", {"rows": [stored]}).status == 200
        explained = server.ask("POST", "/explain", {"features": features}).json
        explanation = explained["explanation"]
        requests = []
        for datatype in CODES:
            rows = some_rows(datatype)
            predictions = native(server, rows)["predictions"]
            for inputs in (one_tensor(rows, datatype), a_tensor_a_feature(rows, datatype, shape=(1,))):
                listed = [[each.name, each.datatype, list(each.shape), list(each.values)] for each in inputs]
                requests.append({"inputs": listed, "predictions": predictions})
        yield (
            server,
            {
                "row": [float(value) for value in ROW],
                "prediction": explained["prediction"],
                "columns": [[name, kind, v] for kind, (name, v) in zip(DATATYPES, features.items(), strict=True)],
                "requests": requests,
                "explanation": {
                    "shap_values": [explanation["contributions"][name] for name in ALL_KINDS.names],
                    "shap_base": [explanation["base"]],
                },
                "key": {
                    "inputs": [["shop", "BYTES", [1], ["a"]], ["sku", "INT64", [1], [7]]],
                    "prediction": server.ask("POST", "/predict", {"key": KEY}).json["prediction"],
                    "as_of": stored["as_of"],
                },
                "digest": read_bundle(path).version,
            },
        )
        assert server.troubles == []


@needs_clients
@pytest.mark.parametrize("suite", ["rest.py", "grpc_triton.py", "grpc_kserve.py"])
def test_clients_that_exist_are_answered(suite, served, tmp_path):
    server, target = served
    address = address_of(server) if suite.startswith("grpc") else f"127.0.0.1:{server.port}"
    run(tmp_path, suite, {"address": address, **target})


def run(folder, suite, target):
    done = subprocess.run(
        [PYTHON, ROOT / "tests/clients" / suite, json.dumps(target)],
        capture_output=True, text=True, timeout=300, check=False, cwd=folder,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "every client was answered\n"), done.stderr[-3000:]


@needs_clients
def test_clients_that_exist_bring_certificates_and_keys(tmp_path):
    ca, _ = make_certificate(tmp_path, "ca")
    own, own_key = make_certificate(tmp_path, "localhost", signed_by="ca")
    mine, my_key = make_certificate(tmp_path, "me", signed_by="ca")
    api_key, line = make_key("me", ["predict"])
    write_keys(tmp_path / "keys", {line.id: line})
    path = write_tree_bundle(tmp_path / "sample")
    options = ["--grpc-port", "0", "--keys", tmp_path / "keys", "--log-level", "debug"]
    options += ["--tls-cert", own, "--tls-key", own_key, "--tls-client-ca", ca]
    with serving(path, options=list(map(str, options)), is_ready=n_booted) as server:
        target = {
            "address": f"localhost:{server.port}",
            "grpc_address": address_of(server).replace("127.0.0.1", "localhost"),
            "ca": str(ca),
            "cert": str(mine),
            "key": str(my_key),
            "api_key": api_key,
            "row": [float(value) for value in ROW],
            "prediction": float(load(path).predict([ALL_KINDS.example()])[0]),
        }
        run(tmp_path, "secured.py", target)
        assert server.troubles == []
