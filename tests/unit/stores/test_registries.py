"""Bundles in a registry of images and in MLflow: tags and aliases are followed to what they mean now."""

from __future__ import annotations

import os
import signal
import ssl
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
from mlrf.stores.registry_client import RegistryClient
from store_servers import mlflow_server, push, register, registry_program, registry_server

pytestmark = pytest.mark.filterwarnings("ignore")  # of the registries' clients


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tree_bundle(folder / str(seed), schema=NUMBERS, seed=seed) for seed in (7, 8)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    if registry_program() is None:
        pytest.skip("docker-registry is not installed")
    with registry_server(tmp_path_factory.mktemp("registry")) as found:
        yield found


def mirror_of(text, cache):
    address = parse_address(text)
    return Mirror(address, cache, lambda: open_reader(address, 2.0))


def test_a_client_reads_the_systems_authorities_once(monkeypatch):
    read, default = [], ssl.create_default_context

    def counted(*arguments, **options):
        read.append(arguments)
        return default(*arguments, **options)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    RegistryClient(parse_address("oci://localhost:1/team/sample:prod"), 1.0)
    assert len(read) == 1


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
import io
import sys
from pathlib import Path
import mlflow
from mlrf.core.repository import ModelDirectory
from mlrf.stores import address
from mlrf.stores.mirror import Mirror
from mlrf.stores.open_store import open_reader

client = mlflow.MlflowClient()
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
print(digests(mirror_of("models:/sales/1")), digests(mirror_of(f"runs:/{sys.argv[2]}/bundle")))
for text in ("models:/sales@other", "models:/sales/9", "models:/none/1"):
    try:
        digests(mirror_of(text))
    except address.ConfigError.__mro__[1] as error:
        print("refused", type(error).__name__)

store = open_reader(address.parse_address("models:/sales@prod"), 5.0)
for read in (lambda: store.read("forest.bin", 100), lambda: store.download("forest.bin", io.BytesIO(), 100)):
    try:
        read()
    except address.ConfigError.__mro__[1] as error:
        print("too long", "File too large" in str(error))
content = io.BytesIO()
store.download("forest.bin", content, int(sys.argv[3]))
print("whole", len(content.getvalue()))
"""


@needs_mlflow
@pytest.mark.slow
def test_versions_aliases_and_runs_of_mlflow_are_followed(bundles, tmp_path):
    size = (bundles[1] / "forest.bin").stat().st_size
    with mlflow_server(tmp_path) as url:
        _, second_run = register(url, "sales", bundles)
        done = subprocess.run(
            [MLFLOW, "-W", "ignore", "-c", SCRIPT, tmp_path / "cache", second_run, str(size)],
            env={**os.environ, "MLFLOW_TRACKING_URI": url, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    first, second = (read_bundle(each).version for each in bundles)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("[", "refused", "too long", "whole"))]
    assert lines == [
        f"['{first}'] []",
        f"['{second}']",
        f"['{first}'] ['{second}']",
        *["refused RepositoryError"] * 3,
        *["too long True"] * 2,
        f"whole {size}",
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
