"""Objects of Amazon S3 and compatible stores, through pyarrow: its credentials are those of the AWS SDK.

The endpoint of a compatible store is that of the environment: AWS_ENDPOINT_URL_S3, or AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from mlrf.core.errors import ConfigError
from mlrf.stores.address import parse_address


def address_of(text: str) -> str:
    """Return an address as `s3://bucket/path`; ConfigError for one of another store."""
    scheme = text.partition(":")[0].lower()
    if scheme == "s3":
        return "s3://" + text.partition(":")[2].strip("/")
    parse_address(text)  # names the stores that are not supported
    raise ConfigError(
        f"{text}: {scheme} addresses of tables are not supported; copy the files to this machine or to s3://"
    )


def file_system() -> Any:
    """Return the file system of the stores; ConfigError if this pyarrow has none."""
    try:
        return _file_system(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))
    except ImportError as error:
        raise ConfigError(
            f"s3://: this pyarrow cannot read from S3 ({error}); copy the files to this machine"
        ) from error


@cache
def _file_system(endpoint: str | None) -> Any:
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415  starts the threads of the AWS SDK

    return S3FileSystem(endpoint_override=endpoint) if endpoint else S3FileSystem()


def object_path(address: str) -> str:
    """Return an address as pyarrow's path: `bucket/path`."""
    return address.removeprefix("s3://")


def list_files(address: str) -> list[str] | None:
    """Return the addresses of the objects below a folder in the order of their names; None if it is an object itself."""
    from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415

    files = file_system()
    if files.get_file_info(object_path(address)).type == FileType.File:
        return None
    below = files.get_file_info(FileSelector(object_path(address), recursive=True))
    return sorted(f"s3://{each.path}" for each in below if each.type == FileType.File)
