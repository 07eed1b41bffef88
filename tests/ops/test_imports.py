"""Modules that the server must not import at its start: each costs memory and a tenth of a second."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_LIST_MODULES = "import json, sys; {}; print(json.dumps(sorted(sys.modules)))"


def modules_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES.format(statement)], capture_output=True, text=True, timeout=300, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("statement", ["import mlrf.cli.serve", "import mlrf.serving.processes.startup"])
def test_the_arbiter_imports_neither_an_engine_nor_a_console(statement):
    heavy = {
        "typer",
        "rich",
        "click",
        "pandas",
        "pyarrow",
        "polars",
        "numpy",
        "onnxruntime",
        "onnx",
        "lightgbm",
        "prometheus_client",
        "opentelemetry",
        "grpc",
        "google",
    }
    assert modules_after(statement) & heavy == set()


def test_a_worker_imports_no_builders_libraries():
    heavy = {
        "typer",
        "rich",
        "click",
        "pandas",
        "pyarrow",
        "polars",
        "onnx",
        "lightgbm",
        "prometheus_client",
        "opentelemetry",
        "grpc",
        "google",
    }
    assert modules_after("import mlrf.serving.models.service, mlrf.engines.onnxruntime, mlrf.model") & heavy == set()


def test_nothing_that_serves_trees_imports_onnx_or_onnx_runtime():
    """Every module below the builder, except the three engines of ONNX models, in a process where both are hidden."""
    statement = (
        "import pkgutil, sys; sys.modules.update({'onnx': None, 'onnxruntime': None}); "
        "from importlib import import_module; import mlrf; "
        "layers = ('core', 'engines', 'model', 'serving'); "
        "needing = ('mlrf.engines.onnx_graph', 'mlrf.engines.onnx_session', 'mlrf.engines.onnxruntime'); "
        "names = [m.name for m in pkgutil.walk_packages(mlrf.__path__, 'mlrf.') if m.name.split('.')[1] in layers]; "
        "[import_module(name) for name in names if name not in needing]"
    )
    found = modules_after(statement)
    assert "mlrf" in found
