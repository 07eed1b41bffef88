"""Unmodified clients of the Open Inference Protocol, from the environment that `make clients` makes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from bundles import write_bundle
from running import serving

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / f"{os.environ.get('VENV', '.venv')}-clients/bin/python"
FEATURES = {"price": 9.5, "count": 3, "promo": True, "store": "süd", "size": 20, "code": 7, "depth": 0.25}
DATATYPES = ("FP64", "INT64", "BOOL", "BYTES", "INT64", "INT64", "FP64")
ROW = [9.5, 3.0, 1.0, 1.0, 1.0, 7.0, 0.25]


@pytest.mark.skipif(not PYTHON.exists() and "CI" not in os.environ, reason="make clients")
def test_rest_clients_that_exist_are_answered(tmp_path):
    with serving(write_bundle(tmp_path / "sample")) as server:
        body = json.dumps({"features": FEATURES}).encode()
        told = server.ask("POST", "/predict", body, ["Content-Type: application/json"]).json
        columns = [(name, kind, value) for kind, (name, value) in zip(DATATYPES, FEATURES.items(), strict=True)]
        given = [f"127.0.0.1:{server.port}", float(told["prediction"]).hex(), json.dumps(ROW), json.dumps(columns)]
        suite = ROOT / "tests/clients/rest.py"
        done = subprocess.run(
            [PYTHON, suite, *given], capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path
        )
        assert (done.returncode, done.stdout) == (0, "every client was answered\n"), done.stderr[-3000:]
        assert server.troubles == []
