"""Bundles in a registry of images and in MLflow: tags and aliases are followed to what they mean now."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess

import pytest

from bundles import NUMBERS, write_tree_bundle
from client_environment import MLFLOW, needs_mlflow
from documents import ROOT
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import ConfigError, RepositoryError
from mlrf.core.repository import ModelDirectory
from mlrf.stores.address import parse_address
from mlrf.stores.mirror import Mirror
from mlrf.stores.open_store import open_reader
from running import eventually

pytestmark = pytest.mark.filterwarnings("ignore")  # of the registries' clients


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tree_bundle(folder / str(seed), schema=NUMBERS, seed=seed) for seed in (7, 8)]


@contextlib.contextmanager
def running(command, port, **rest):
    """A server, killed afterwards with all its processes."""
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **rest
    )
    try:
        eventually(lambda: accepts(port), 120, what=str(command[0]))
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    program = shutil.which("docker-registry")
    if program is None and "CI" not in os.environ:
        pytest.skip("docker-registry is not installed")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    (folder / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with running([program, "serve", str(folder / "config.yml")], port) as server:
        yield f"127.0.0.1:{port}", server


def push(host, bundle, name):
    import oras.provider  # noqa: PLC0415  as another program that pushes

    files = [f"./{file.name}:application/octet-stream" for file in sorted(bundle.iterdir())]
    client = oras.provider.Registry(insecure=True)
    working = os.getcwd()
    os.chdir(bundle)
    try:
        answer = client.push(f"{host}/{name}", files=files, quiet=True)
    finally:
        os.chdir(working)
    assert answer.status_code == 201


def mirror_of(text, cache):
    address = parse_address(text)
    return Mirror(address, cache, lambda: open_reader(address, 2.0))


def test_a_tag_of_a_registry_is_followed(registry, bundles, tmp_path):
    host, server = registry
    push(host, bundles[0], "team/sample:prod")
    mirror = mirror_of(f"oci://{host}/team/sample:prod", tmp_path)
    [change] = mirror.sync()
    assert (change.model, change.digest) == ("sample", read_bundle(bundles[0]).version)
    assert "@sha256:" in change.resolved
    assert list(mirror.sync()) == []
    push(host, bundles[1], "team/sample:prod")
    [change] = mirror.sync()
    assert (change.number, change.digest) == (2, read_bundle(bundles[1]).version)
    directory = ModelDirectory(mirror.path / "sample")
    assert directory.read(directory.pointer().version).version == change.digest
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RepositoryError):
            list(mirror.sync())
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert list(mirror.sync()) == []
    with pytest.raises(RepositoryError, match="there is no such artefact"):
        list(mirror_of(f"oci://{host}/team/sample:other", tmp_path).sync())


SCRIPT = """
import sys
from pathlib import Path
import mlflow
from mlrf.core.repository import ModelDirectory
from mlrf.stores import address
from mlrf.stores.mirror import Mirror
from mlrf.stores.open_store import open_reader

client = mlflow.MlflowClient()
client.create_registered_model("sales")
runs = []
for number, bundle in enumerate(sys.argv[2:], 1):
    with mlflow.start_run() as run:
        mlflow.log_artifacts(bundle, "bundle")
    runs.append(run.info.run_id)
    client.create_model_version("sales", f"{run.info.artifact_uri}/bundle", run.info.run_id)

def mirror_of(text):
    parsed = address.parse_address(text)
    return Mirror(parsed, Path(sys.argv[1]), lambda: open_reader(parsed, 5.0))

def digests(mirror):
    return [each.digest for each in mirror.sync()]

client.set_registered_model_alias("sales", "prod", 1)
prod = mirror_of("models:/sales@prod")
print(digests(prod), digests(prod))
client.set_registered_model_alias("sales", "prod", 2)
print(digests(prod))
print(digests(mirror_of("models:/sales/1")), digests(mirror_of(f"runs:/{runs[1]}/bundle")))
for text in ("models:/sales@other", "models:/sales/9", "models:/none/1"):
    try:
        digests(mirror_of(text))
    except address.ConfigError.__mro__[1] as error:
        print("refused", type(error).__name__)
"""


@needs_mlflow
@pytest.mark.slow
def test_versions_aliases_and_runs_of_mlflow_are_followed(bundles, tmp_path):
    port = free_port()
    store = f"sqlite:///{tmp_path}/mlflow.db"
    command = [str(MLFLOW), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(tmp_path / "artefacts")]
    with running(command, port, cwd=tmp_path):
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [MLFLOW, "-W", "ignore", "-c", SCRIPT, tmp_path / "cache", *bundles],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    first, second = (read_bundle(each).version for each in bundles)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("[", "refused"))]
    assert lines == [
        f"['{first}'] []",
        f"['{second}']",
        f"['{first}'] ['{second}']",
        *["refused RepositoryError"] * 3,
    ], done.stderr[-3000:]


def test_addresses_of_registries_are_checked(monkeypatch):
    monkeypatch.setattr("mlrf.stores.address.find_spec", lambda _module: object())
    assert parse_address("models:/sales@prod").text == "models:/sales@prod"
    assert parse_address("models:/team sales/3").text == "models:/team sales/3"
    for text in ("models:/sales", "models:/sales/latest", "models:/a/b/3", "runs:/abc", "runs:/abc/../x"):
        with pytest.raises(ConfigError, match="of the form"):
            parse_address(text)
    monkeypatch.setattr("mlrf.stores.address.find_spec", lambda _module: None)
    with pytest.raises(ConfigError, match=r"needs `pip install 'mlrf\[mlflow\]'`"):
        parse_address("models:/sales/3")
