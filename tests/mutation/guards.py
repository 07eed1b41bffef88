"""`make guards`: removes guards one at a time in a scratch copy and expects a test of the package to fail.

A guard is an `if` whose body only raises. Its condition becomes `False`, and the tests named in TESTS run; a guard whose removal
no test notices is reported as a survivor, and the status is 1. COUNT guards are drawn evenly from the packages, the same ones
for a SEED; ONLY names one package.

    make guards COUNT=40 SEED=1 ONLY=core
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mlrf"
LIMIT_S = 600
TESTS = {
    "core": ["tests/unit/core"],
    "features": ["tests/unit/features", "tests/contract", "tests/unit/builder/bundle/test_keyed_rows.py"],
    "serving/http": [
        "tests/unit/serving/http",
        "tests/wire/test_http_refusals.py",
        "tests/wire/test_hostile_corpus.py",
    ],
    "serving/http2": ["tests/unit/serving/http2", "tests/unit/serving/oip/grpc", "tests/wire/test_grpc_limits.py"],
    "serving/auth": [
        "tests/unit/serving/auth",
        "tests/wire/test_access.py",
        "tests/wire/test_cors.py",
        "tests/wire/test_tls_files.py",
    ],
    "serving/config": ["tests/unit/serving/config"],
    "serving/native": ["tests/unit/serving/native", "tests/wire/test_predicting.py", "tests/wire/test_by_key.py"],
    "serving/oip": ["tests/unit/serving/oip", "tests/wire/test_inference_wires.py", "tests/wire/test_inference.py"],
    "serving/arrow": ["tests/unit/serving/arrow"],
    "serving/platforms": [
        "tests/unit/serving/platforms",
        "tests/wire/test_platform_refusals.py",
        "tests/wire/test_platforms.py",
        "tests/wire/test_platform_limits.py",
    ],
    "serving/lookup": ["tests/unit/serving/lookup", "tests/wire/test_by_key.py"],
    "serving/cache": ["tests/unit/serving/cache", "tests/unit/serving/config", "tests/ops/test_shared_cache.py"],
    "serving/runtime": [
        "tests/unit/serving/runtime",
        "tests/wire/test_http_refusals.py",
        "tests/wire/test_inference.py",
        "tests/wire/test_inference_operations.py",
    ],
    "serving/telemetry": [
        "tests/unit/serving/telemetry",
        "tests/ops/test_request_logs.py",
        "tests/ops/test_logged_inference.py",
    ],
    "serving/models": ["tests/unit/serving/models", "tests/wire/test_repository.py", "tests/ops/test_start_checks.py"],
    "serving/processes": [
        "tests/unit/serving/processes",
        "tests/ops/test_start_checks.py",
        "tests/ops/test_admin.py",
        "tests/ops/test_unload.py",
        "tests/ops/test_reload.py",
        "tests/ops/test_replaced_bundle.py",
        "tests/ops/test_supervision.py",
        "tests/wire/test_shutdown_delay.py",
    ],
    "engines": [
        "tests/unit/engines",
        "tests/unit/model",
        "tests/wire/test_graph_models.py",
        "tests/parity/test_onnx_graphs.py",
    ],
    "serving/pages": ["tests/unit/serving/pages", "tests/docs/test_routes.py"],
    "serving/option": ["tests/unit/serving/config"],
    "scoring": ["tests/unit/scoring"],
    "client": ["tests/unit/client", "tests/wire/test_python_client.py", "tests/wire/test_async_client.py"],
    "cli": ["tests/unit/cli"],
    "model": ["tests/unit/model"],
    "signing": ["tests/unit/signing"],
    "testing": ["tests/unit/testing"],
    "builder": ["tests/unit/builder"],
    "stores": ["tests/unit/stores", "tests/ops/test_model_stores.py"],
    "workbench": ["tests/unit/workbench"],
    "deploy": ["tests/unit/deploy"],
    "demo": ["tests/unit/demo"],
    "duckdb": ["tests/unit/model/test_duckdb.py", "tests/unit/test_duckdb.py"],
    "polars": ["tests/unit/test_polars.py"],
    "dask": ["tests/wire/test_every_engine.py", "tests/cluster/test_clusters.py"],
    "ray": ["tests/wire/test_every_engine.py", "tests/cluster/test_clusters.py"],
    "spark": ["tests/wire/test_every_engine.py", "tests/cluster/test_clusters.py"],
    "__init__": ["tests/unit/test_public_names.py"],
}
"""The tests that hold the guards of each package, or of a module that is in none of them, fastest first."""
TIMED = {"serving/processes"}
"""Packages some of whose tests need a quiet machine: run their guards on one."""
# The finder of an editable install would find the work tree before the scratch copy.
_SITECUSTOMIZE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "Scikit" not in type(finder).__name__]
"""


@dataclass(frozen=True)
class Guard:
    """A guard: its file, its condition, and where that begins and ends in the file's bytes."""

    package: str
    path: Path
    line: int
    begin: int
    end: int
    condition: str


def guards_of(package: str, *, without: Callable[[Path], bool] = lambda _: False) -> Iterator[Guard]:
    """Yield the guards of a package (or of a module), but not of the files `without`, in the order of their files and lines."""
    module = PACKAGE / f"{package}.py"
    for path in [module] if module.exists() else sorted((PACKAGE / package).rglob("*.py")):
        if without(path.relative_to(PACKAGE)):
            continue
        source = path.read_bytes()
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        for node in ast.walk(ast.parse(source)):
            if _is_guard(node):
                test = node.test
                begin = starts[test.lineno - 1] + test.col_offset
                end = starts[(test.end_lineno or 0) - 1] + (test.end_col_offset or 0)
                yield Guard(
                    package,
                    path.relative_to(PACKAGE),
                    node.lineno,
                    begin,
                    end,
                    " ".join(source[begin:end].decode().split()),
                )


def _is_guard(node: ast.AST) -> TypeGuard[ast.If]:
    """Return whether a node is a guard; what raises AssertionError tells the type checker something, and no caller."""
    if not isinstance(node, ast.If) or node.orelse or [type(each) for each in node.body] != [ast.Raise]:
        return False
    return "AssertionError" not in ast.dump(node.body[0])


def survives(guard: Guard, scratch: Path) -> bool:
    """Return whether every test passes without the guard; the scratch copy is as before afterwards."""
    mutated = scratch / "mlrf" / guard.path
    source = mutated.read_bytes()
    mutated.write_bytes(source[: guard.begin] + b"(False)" + source[guard.end :])
    try:
        return passes(scratch, guard.package)
    finally:
        mutated.write_bytes(source)


def passes(scratch: Path, package: str) -> bool:
    """Return whether the tests of a package pass on the scratch copy."""
    marks = "not slow and not clients" if package in TIMED else "not slow and not timing and not clients"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", marks]
    variables = os.environ | {"PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, *TESTS[package]],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.returncode == 0


def main(count: int, seed: int, only: str) -> int:
    """Remove the guards, and return the exit status."""
    packages = [only] if only else list(TESTS)
    chooser, drawn = random.Random(seed), []
    for package in packages:
        found = list(guards_of(package))
        drawn += chooser.sample(found, min(len(found), -(-count // len(packages))))
    drawn = drawn[:count]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        shutil.copytree(PACKAGE, scratch / "mlrf", ignore=shutil.ignore_patterns("__pycache__"))
        import mlrf._kernel  # noqa: PLC0415  where the build has put it

        shutil.copy(mlrf._kernel.__file__, scratch / "mlrf")
        (scratch / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        for package in {guard.package for guard in drawn}:
            if not passes(scratch, package):
                print(f"the tests of {package} fail before anything is removed", flush=True)
                return 2
        for guard in drawn:
            is_survivor = survives(guard, scratch)
            survivors += is_survivor
            verdict = "SURVIVED" if is_survivor else "noticed"
            print(f"{verdict:8}  {guard.path}:{guard.line}  if {guard.condition}", flush=True)
    print(f"{len(drawn) - survivors} of {len(drawn)} removed guards were noticed by a test")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(int(os.environ.get("COUNT", "40")), int(os.environ.get("SEED", "1")), os.environ.get("ONLY", "")))
