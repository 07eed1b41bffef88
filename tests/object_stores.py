"""Servers of three kinds of object stores on this machine: S3 (moto), Google Cloud Storage (gcp-storage-emulator), Azure (Azurite)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from client_environment import AZURITE
from mlrf.scoring.remote_files import file_system, object_path
from running import free_port
from store_servers import BUCKET, S3_VARIABLES, s3_server, server_process

AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # Azurite's own
_CI = "CI" in os.environ
_NO_GCS = find_spec("gcp_storage_emulator") is None
_NO_AZURITE = not AZURITE.exists()
KINDS = [
    "s3",
    pytest.param("gs", marks=pytest.mark.skipif(_NO_GCS and not _CI, reason="gcp-storage-emulator is not installed")),
    pytest.param(
        "abfs",
        marks=[pytest.mark.clients, pytest.mark.skipif(_NO_AZURITE and not _CI, reason="run `make clients` first")],
    ),
]
"""The schemes of the stores, as parameters of tests."""


@dataclass(frozen=True)
class ObjectStore:
    """A store that runs, with an empty bucket."""

    scheme: str
    variables: dict[str, str]
    """The environment in which its addresses are found."""
    log: Path
    """What the server writes."""

    def address(self, path: str) -> str:
        return f"{self.scheme}://{BUCKET}/{path}"

    def put(self, path: str, content: bytes) -> None:
        address = self.address(path)
        with file_system(address).open_output_stream(object_path(address)) as stream:
            stream.write(content)

    def get(self, path: str) -> bytes:
        address = self.address(path)
        with file_system(address).open_input_file(object_path(address)) as file:
            return file.read()

    def delete(self, path: str) -> None:
        address = self.address(path)
        file_system(address).delete_file(object_path(address))

    def upload(self, folder: Path, prefix: str) -> None:
        """Write the files below a folder as objects."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder)}", file.read_bytes())

    def content(self, prefix: str) -> dict[str, bytes]:
        """The objects below a prefix, by their names without it."""
        from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415

        address = self.address(prefix)
        below = file_system(address).get_file_info(
            FileSelector(object_path(address), recursive=True, allow_not_found=True)
        )
        names = [each.path.removeprefix(f"{BUCKET}/{prefix}/") for each in below if each.type == FileType.File]
        return {name: self.get(f"{prefix}/{name}") for name in sorted(names)}


@contextlib.contextmanager
def object_store(scheme: str, folder: Path) -> Iterator[ObjectStore]:
    """A store with an empty bucket, in a server of its own process; its variables are set meanwhile."""
    with {"s3": _s3, "gs": _gcs, "abfs": _azure}[scheme](folder) as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.variables.items():
            patch.setenv(name, value)
        if scheme != "s3":
            file_system(store.address("")).create_dir(BUCKET)
        yield store


@contextlib.contextmanager
def _s3(folder: Path) -> Iterator[ObjectStore]:
    with s3_server(folder) as url:
        yield ObjectStore("s3", {**S3_VARIABLES, "AWS_ENDPOINT_URL": url}, folder / "moto.log")


@contextlib.contextmanager
def _gcs(folder: Path) -> Iterator[ObjectStore]:
    port, log = free_port(), folder / "gcs.log"
    command = [sys.executable, "-W", "ignore", "-m", "gcp_storage_emulator", "start"]
    with server_process([*command, "--host=127.0.0.1", f"--port={port}", "--in-memory"], port, log):
        yield ObjectStore("gs", {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "GOOGLE_CLOUD_PROJECT": "p"}, log)


@contextlib.contextmanager
def _azure(folder: Path) -> Iterator[ObjectStore]:
    port, log = free_port(), folder / "azurite.log"
    command = [str(AZURITE), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    account = "devstoreaccount1"
    endpoint = f"http://127.0.0.1:{port}/{account}"
    connection = f"AccountName={account};AccountKey={AZURE_KEY};BlobEndpoint={endpoint};"
    with server_process([*command, "--blobPort", str(port)], port, log, cwd=folder):
        yield ObjectStore("abfs", {"AZURE_STORAGE_CONNECTION_STRING": connection}, log)
