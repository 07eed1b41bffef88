"""Amazon S3 and compatible stores, through botocore (`mlrf[s3]`): its settings, profiles and credential providers all count."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from mlrf.core.errors import RepositoryError
from mlrf.stores.address import Address
from mlrf.stores.interface import MAX_FOLDERS, Content

_CHUNK_BYTES = 1 << 20
_CONNECT_S = 5.0
_ABSENT = frozenset(("NoSuchKey", "404", "NotFound"))
_CONFLICT = frozenset(("PreconditionFailed", "ConditionalRequestConflict", "412", "409"))


class S3Store:
    """The objects below a bucket and prefix."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._bucket = address.host
        self._prefix = f"{address.path}/" if address.path else ""
        # The caller retries, and knows when to give up.
        config = Config(
            connect_timeout=min(_CONNECT_S, timeout_s), read_timeout=timeout_s, retries={"total_max_attempts": 1}
        )
        with self._errors(""):
            self._client: Any = botocore.session.get_session().create_client("s3", config=config)

    @property
    def resolved(self) -> str:
        """The address: S3 has no aliases."""
        return self._address.text

    def read(self, name: str, limit_bytes: int) -> Content:
        """Return the content of an object; its ETag and time of writing are its token."""
        with self._errors(name):
            found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            with found["Body"] as body:
                content = body.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise RepositoryError(f"{self._address.text}/{name}: has more than {limit_bytes} bytes")
        return Content(content, f"{found['ETag']} {found['LastModified']}")

    def download(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """Write an object's content to a file."""
        with self._errors(name):
            found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            with found["Body"] as body:
                if found["ContentLength"] != size_bytes:
                    raise RepositoryError(
                        f"{self._address.text}/{name}: has {found['ContentLength']} bytes, the manifest says {size_bytes}"
                    )
                while chunk := body.read(_CHUNK_BYTES):
                    file.write(chunk)

    def folders(self, below: str = "") -> list[str]:
        """Return the last parts of the common prefixes below the address or a folder."""
        prefix = f"{self._prefix}{below}/" if below else self._prefix
        with self._errors(below):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            listed = (each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ()))
            found = list(itertools.islice(listed, MAX_FOLDERS + 1))
        if len(found) > MAX_FOLDERS:
            raise RepositoryError(f"{self._address.text}/{below}: has more than {MAX_FOLDERS} folders")
        return [each[len(prefix) : -1] for each in found]

    def write(self, name: str, body: bytes | BinaryIO, *, replacing: str | None = None, is_new: bool = False) -> None:
        """Write an object, under a condition if one is given."""
        condition = {"IfNoneMatch": "*"} if is_new else {}
        if replacing is not None:
            condition = {"IfMatch": replacing.partition(" ")[0]}
        with self._errors(name):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body, **condition)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        where = f"{self._address.text}/{name}".rstrip("/")
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _ABSENT:
                raise FileNotFoundError(where) from error
            if code in _CONFLICT:
                raise FileExistsError(where) from error
            raise RepositoryError(f"{where}: the store refused the request: {code}") from error
        except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
            raise RepositoryError(
                f"{where}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of ~/.aws"
            ) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise RepositoryError(f"{where}: {type(error).__name__}: {error}") from error
        except (OSError, ValueError, KeyError) as error:
            raise RepositoryError(f"{where}: {type(error).__name__}: {error}") from error
