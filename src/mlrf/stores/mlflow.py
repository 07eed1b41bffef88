"""Bundles among the artefacts of MLflow, through its own client (`mlrf[mlflow]`): model versions, aliases and runs.

    models:/NAME/3       a version          models:/NAME@ALIAS   the version that an alias names now
    runs:/ID/PATH        artefacts of a run

The artefacts are those of one bundle (`mlflow.log_artifacts("sales-bundle", "sales")`). The server and its credentials
are those of MLFLOW_TRACKING_URI and the other variables of MLflow.

Files are downloaded by `_download_file`, which every artifact repository of MLflow must implement: the public
`download_artifacts` asks for a listing before each file, and draws a progress bar on the server's standard error.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mlrf.core.errors import RepositoryError
from mlrf.stores.address import Address
from mlrf.stores.interface import Content

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the caller tries again, and knows when


class MlflowStore:
    """The artefacts of one model version or of a folder of a run."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(1, round(timeout_s)))
        self._address = address
        with self._errors(""):
            from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415  reads the variables above
                get_artifact_repository,
            )

            uri = _artifact_uri(address)
            self._artifacts: Any = get_artifact_repository(uri)
            self._files = {each.path: each for each in self._artifacts.list_artifacts()}
        self._uri = uri
        self._read: dict[str, Content] = {}
        """Small files that were read: a new version's manifest is needed twice."""

    @property
    def resolved(self) -> str:
        """The address, and the place of the artefacts that it means now."""
        return f"{self._address.text} ({self._uri})"

    def read(self, name: str, limit_bytes: int) -> Content:
        """Return the content of an artefact. Artefacts do not change, so the place of all of them is its token."""
        self._check(name)
        found = self._read.get(name)
        if found is None:
            with tempfile.TemporaryFile() as file:
                self._copy(name, file, limit_bytes)
                file.seek(0)
                found = self._read[name] = Content(file.read(), f"{self._uri}/{name}")
        return found

    def download(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """Write the content of an artefact to an open file."""
        self._check(name)
        if self._copy(name, file, size_bytes) != size_bytes:
            raise RepositoryError(f"{self._address.text}/{name}: does not have the {size_bytes} bytes of the manifest")

    def folders(self, below: str = "") -> list[str]:  # noqa: ARG002  MLflow's own registry has the versions
        """Return nothing: the artefacts are one bundle."""
        return []

    def _check(self, name: str) -> None:
        if name not in self._files:
            raise FileNotFoundError(f"{self._address.text}/{name}")

    def _copy(self, name: str, file: BinaryIO, limit_bytes: int) -> int:
        with tempfile.TemporaryDirectory() as work, self._errors(name), _files_at_most(limit_bytes):
            found = Path(work) / "file"
            self._artifacts._download_file(name, str(found))  # noqa: SLF001  see above
            size_bytes = found.stat().st_size
            if size_bytes > limit_bytes:
                raise RepositoryError(f"{self._address.text}/{name}: has more than {limit_bytes} bytes")
            with found.open("rb") as source:
                shutil.copyfileobj(source, file)
            return size_bytes

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, RepositoryError):
            raise
        except Exception as error:  # of mlflow and of the stores behind it
            where = f"{self._address.text}/{name}".rstrip("/")
            raise RepositoryError(f"{where}: {type(error).__name__}: {error}") from error


@contextmanager
def _files_at_most(limit_bytes: int) -> Iterator[None]:
    """Let this process write no longer files: MLflow's client writes whatever is sent, to its end."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes + 1, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def _artifact_uri(address: Address) -> str:
    """Return where the artefacts are that an address means now."""
    from mlflow import MlflowClient  # noqa: PLC0415

    client = MlflowClient()
    kind, _, rest = address.text.partition(":/")
    if kind == "runs":
        run, _, path = rest.partition("/")
        return f"{client.get_run(run).info.artifact_uri}/{path}".rstrip("/")
    name, at, alias = rest.partition("@")
    if at:
        version = client.get_model_version_by_alias(name, alias).version
    else:
        name, _, version = rest.rpartition("/")
    return str(client.get_model_version_download_uri(name, version))
