"""ONNX Runtime's telemetry stays off: nothing is written to the home directory, and nothing imports it in another way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import mlrf
from bundles import NUMBERS, write_bundle

PACKAGE = Path(mlrf.__file__).parent


def test_onnx_runtime_writes_nothing_to_the_home_directory(tmp_path):
    bundle = write_bundle(tmp_path / "b", schema=NUMBERS)
    (tmp_path / "rows.json").write_text("[[1, 2, 3]]")
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-m", "mlrf", "predict", str(bundle), str(tmp_path / "rows.json")]
    names = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"HOME": str(home)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    assert sorted(home.rglob("*")) == []


def test_everything_imports_it_without_telemetry():
    others = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(each.name.partition(".")[0] == "onnxruntime" for each in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "onnxruntime")
    ]
    assert others == ["quiet_onnxruntime.py"]
