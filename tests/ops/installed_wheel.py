"""Install a wheel in an empty environment, serve with it, and compare its answers with the working tree's. Run by `make wheel-test`.

The environment has only the runtime dependencies, all from wheels, and a PATH without a compiler.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import mlrf
from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from running import START_LIMIT_S, Server, eventually

ROOT = Path(__file__).parents[2]
EXTRAS = {
    "lightgbm",
    "onnx",
    "onnxruntime",
    "grpcio",
    "redis",
    "pyarrow",
    "pandas",
    "polars",
    "cmake",
    "nanobind",
    "scikit-build-core",
}


def main(wheel: Path) -> None:
    """Check one wheel; an AssertionError or CalledProcessError says what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        programs = install(wheel, home / "venv")
        bundle = write_tree_bundle(home / "bundle")
        model = mlrf.load(bundle)
        row = ALL_KINDS.example()
        with serving(programs, bundle) as server:
            answer = server.ask("POST", "/explain", {"features": row})
            assert answer.status == 200, answer
            assert answer.json["prediction"] == model.predict([row])[0]
            assert list(answer.json["explanation"]["contributions"].values()) == model.explain([row]).values[0].tolist()
            assert server.ask("POST", "/predict", {"features": row}).json["prediction"] == answer.json["prediction"]
        assert server.troubles == [], server.troubles
        for arguments in (["inspect", bundle], ["bench", bundle, "--rows", "100", "--json"]):
            run(programs, "mlrf", *map(str, arguments))
        onnx = write_bundle(home / "onnx")
        for arguments, remedy in (
            (["serve", bundle, "--grpc-port", "0"], 'pip install "mlrf[grpc]"'),
            (["serve", bundle, "--engine", "onnxruntime"], "pip install 'mlrf[onnx]'"),
            (["serve", onnx], "pip install 'mlrf[onnx]'"),
            (["inspect", onnx], "pip install 'mlrf[onnx]'"),
        ):
            assert remedy in refused(programs, *map(str, arguments)), arguments
        check_shared_files(programs.parent / "share/mlrf/deploy")
    print(f"{wheel.name}: installs without a compiler, and answers as the working tree does")


def install(wheel: Path, path: Path) -> Path:
    """Create an environment with the wheel and its dependencies; return the folder of its programs, the only one on PATH."""
    venv.create(path, with_pip=True)
    programs = path / "bin"
    locked = ROOT / "requirements/dev.txt"
    run(programs, "pip", "install", "--quiet", "--only-binary", ":all:", "--constraint", str(locked), str(wheel))
    listed = run(programs, "pip", "list", "--format", "freeze").lower()
    installed = {line.partition("==")[0] for line in listed.splitlines()}
    assert "mlrf" in installed
    assert not EXTRAS & installed, EXTRAS & installed
    return programs


def check_shared_files(shared: Path) -> None:
    """Check that units, manifests and recipes are where packagers of distributions look for them, as they are in the package."""
    package = Path(mlrf.__file__).parent / "deploy"
    files = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    files = {path for path in files if path.suffix not in (".py", ".pyc")}
    installed = {path.relative_to(shared) for path in shared.rglob("*") if path.is_file()}
    assert installed == files, installed ^ files
    assert all((shared / path).read_bytes() == (package / path).read_bytes() for path in files)


def run(programs: Path, name: str, *arguments: str) -> str:
    """Run a program of the environment to its end; return what it printed."""
    done = subprocess.run(
        [programs / name, *arguments],
        env=environment(programs),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout


def refused(programs: Path, *arguments: str) -> str:
    """Run a command that must be refused as wrong settings; return its message."""
    done = subprocess.run(
        [programs / "mlrf", *arguments],
        env=environment(programs),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_LIMIT_S,
    )
    assert done.returncode == 2, done
    return done.stderr


def environment(programs: Path) -> dict[str, str]:
    """The environment's variables: this process's settings, but no other programs and modules."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PATH": str(programs)}


@contextlib.contextmanager
def serving(programs: Path, bundle: Path) -> Iterator[Server]:
    """Serve a bundle with the environment's own `mlrf`, and end it cleanly."""
    process = subprocess.Popen(
        [programs / "mlrf", "serve", bundle, "--port", "0", "--workers", "2"],
        env=environment(programs),
        cwd=bundle.parent,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    server = Server(process)
    try:
        server.find_address()
        eventually(server.is_ready, START_LIMIT_S, "a ready worker")
        yield server
    finally:
        process.terminate()
        status = server.wait()
    assert status == 0, status


if __name__ == "__main__":
    main(Path(sys.argv[1]))
