"""Objects of stores, through pyarrow: Amazon S3 and compatible stores, Google Cloud Storage, Azure Blob Storage and Data Lake.

    s3://BUCKET/PATH
    gs://BUCKET/PATH                                        also gcs://
    abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH      also abfss:// and az://
    abfs://CONTAINER/PATH                                   of the account that the environment names

Credentials are found as by the SDK of each store. The endpoint of another server is that of the environment:
AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, STORAGE_EMULATOR_HOST, and the BlobEndpoint of AZURE_STORAGE_CONNECTION_STRING.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from mlrf.core.errors import ConfigError
from mlrf.core.local_path import scheme_of
from mlrf.scoring.azure_account import AzureAccount, azure_account

SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs", "abfs": "abfs", "abfss": "abfs", "az": "abfs"}
"""By the scheme of an address, the one that stands for the store."""
_SIGNATURE = re.compile(r"\bsig=[^&'\"\s]+")
_AZURE_VERSION = 20
"""The first pyarrow that takes tokens of Azure. Version 17 ends the process if a store of Azure does not answer."""
_RETRY_LIMIT = timedelta(seconds=30)
"""How long requests to Google Cloud Storage are repeated; the library's default is 15 minutes."""


class _Parts(NamedTuple):
    scheme: str
    host: str
    """The bucket, or `CONTAINER@ACCOUNT.…`."""
    path: str
    """What follows, with its slash."""

    @property
    def bucket(self) -> str:
        return self.host.partition("@")[0]


def address_of(text: str | os.PathLike[str]) -> str:
    """Return an address in its usual form; ConfigError for one of another store, or without a bucket."""
    text = os.fspath(text)
    scheme = (scheme_of(text) or "").lower()
    if scheme not in SCHEMES:
        raise ConfigError(
            f"{text}: {scheme} addresses of tables are not supported; copy the files to this machine, or to s3://, gs:// or abfs://"
        )
    address = f"{SCHEMES[scheme]}://{text.partition(':')[2].strip('/')}"
    if not _parts_of(address).bucket:
        raise ConfigError(f"{text}: names no bucket; give {scheme}://BUCKET/PATH")
    return address


def file_system(address: str) -> Any:
    """Return the file system of an address's store; ConfigError if this pyarrow or the environment has none."""
    scheme, host, _ = _parts_of(address)
    try:
        if scheme == "s3":
            return _s3(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))
        if scheme == "gs":
            return _gcs(os.environ.get("STORAGE_EMULATOR_HOST"))
        _check_azure(address)
        return _azure(azure_account(address, host.partition("@")[2]))
    except ImportError as error:
        raise ConfigError(
            f"{address}: this pyarrow cannot read from {scheme}:// ({error}); copy the files to this machine"
        ) from error


def object_path(address: str) -> str:
    """Return an address as pyarrow's path: `bucket/path`."""
    parts = _parts_of(address)
    return parts.bucket + parts.path


def list_files(address: str) -> list[str] | None:
    """Return the addresses of the objects below a folder in the order of their names; None if it is an object itself.

    OSError if the store does not answer.
    """
    from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415

    files, path = file_system(address), object_path(address)
    with store_errors():
        if files.get_file_info(path).type == FileType.File:
            return None
        below = files.get_file_info(FileSelector(path, recursive=True))
    scheme, host, _ = parts = _parts_of(address)
    keys = (each.path.removeprefix(parts.bucket) for each in below if each.type == FileType.File)
    return sorted(f"{scheme}://{host}{key}" for key in keys)


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise what a store reports as an OSError in one line, without the signature of a token.

    pyarrow has no class of its own for some errors, such as credentials that are not accepted.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise OSError(reason_of(error)) from None


def reason_of(error: BaseException) -> str:
    """Return the reason of an error in one line, without the signatures of URLs, with which any reader could open the store."""
    return _SIGNATURE.sub("sig=…", " ".join(str(error).split()))


def _parts_of(address: str) -> _Parts:
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return _Parts(scheme, host, slash + path)


@cache
def _s3(endpoint: str | None) -> Any:
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415  starts the threads of the AWS SDK

    return S3FileSystem(endpoint_override=endpoint) if endpoint else S3FileSystem()


@cache
def _gcs(emulator: str | None) -> Any:
    from pyarrow.fs import GcsFileSystem  # noqa: PLC0415

    if not emulator:
        return GcsFileSystem(retry_time_limit=_RETRY_LIMIT)
    scheme, _, host = emulator.rpartition("://")
    return GcsFileSystem(
        anonymous=True, scheme=scheme or "http", endpoint_override=host.rstrip("/"), retry_time_limit=_RETRY_LIMIT
    )


@cache
def _azure(account: AzureAccount) -> Any:
    from pyarrow.fs import AzureFileSystem  # noqa: PLC0415

    return AzureFileSystem(account.name, **account.options())


def _check_azure(address: str) -> None:
    if int(pa.__version__.partition(".")[0]) < _AZURE_VERSION:
        raise ConfigError(f"{address}: needs pyarrow {_AZURE_VERSION} or later, not {pa.__version__}; update it")
