"""Addresses of stores, which can be given in place of a bundle's path: `s3://BUCKET/PATH`, `https://HOST/PATH`.

s3://bucket/models          a repository: each of its models
s3://bucket/models/sales    one model of it; sales@3 for version 3, whatever the pointer says
s3://bucket/sales-bundle    one bundle
oci://host/team/sales:prod  one bundle in a registry of images, by tag or digest
"""

from __future__ import annotations

import hashlib
import os
import re
from importlib.util import find_spec
from pathlib import Path

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.core.local_path import scheme_of

_EXTRAS = {
    "s3": ("s3", "botocore"),
    "oci": ("oci", "oras"),
    "models": ("mlflow", "mlflow"),
    "runs": ("mlflow", "mlflow"),
}
"""By scheme, the extra that it needs and the module by which that is found."""
_SCHEMES = ("s3", "https", "http", "oci")
_MLFLOW = ("models", "runs")
_MLFLOW_PATH = lazy_pattern(r"[^/@]+(/[1-9][0-9]*|@[A-Za-z0-9_.-]+)")
_LATER = {"gs": "Google Cloud Storage", "gcs": "Google Cloud Storage", "abfs": "Azure", "abfss": "Azure", "az": "Azure"}
_LOOPBACK = lazy_pattern(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")
_HTTP_PORT = ":80"
_DIGITS = 16
_PINNED = lazy_pattern(r"(.+)@([1-9][0-9]{0,8})")
_REFERENCE = lazy_pattern(
    r"([a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)(?::(\w[\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


class Address(msgspec.Struct, frozen=True):
    """A store's address: `text` as it was given, with the slashes that a path may have lost."""

    text: str

    @property
    def scheme(self) -> str:
        """The scheme, in lower case."""
        return self.text.partition(":")[0]

    @property
    def host(self) -> str:
        """The bucket, or the host with its port."""
        return self.text.partition("://")[2].partition("/")[0]

    @property
    def path(self) -> str:
        """The path without slashes at its ends; a version `@N` at its end becomes a folder."""
        path = self.text.partition("://")[2].partition("/")[2].strip("/")
        pinned = _PINNED.fullmatch(path)
        return path if pinned is None else f"{pinned[1]}/{pinned[2]}"


class ArtefactReference(msgspec.Struct, frozen=True):
    """What an `oci://` address names in its registry: a repository, and a tag or a digest of it."""

    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """The digest, which says more than a tag; else the tag."""
        return self.digest or self.tag


def artefact_reference(address: Address) -> ArtefactReference:
    """Return what an `oci://` address names; without a tag that is `latest`, as for images. ConfigError for another form."""
    found = _REFERENCE.fullmatch(address.text.partition("://")[2].partition("/")[2])
    if found is None:
        raise ConfigError(
            f"{address.text}: is not an address of the form oci://HOST/NAME:TAG or oci://HOST/NAME@sha256:DIGEST, "
            "with a NAME in lower case"
        )
    repository, tag, digest = found.groups()
    return ArtefactReference(repository, tag or ("" if digest else "latest"), digest or "")


def is_address(path: str | os.PathLike[str]) -> bool:
    """Return whether a bundle is named by the address of a store, rather than by a path."""
    return scheme_of(path) is not None


def split_paths(text: str) -> list[str]:
    """Return the paths in a text: between colons; between spaces if one of them is an address, which has colons itself."""
    if any(is_address(part) for part in text.split()):
        return text.split()
    return [part for part in text.split(":") if part]


def path_text(path: Path) -> str:
    """Return a path in full, and an address as it was given, even if the extra that it needs is not installed."""
    return well_formed_address(path).text if is_address(path) else str(path.absolute())


def mirror_path(address: Address, cache: Path) -> Path:
    """Return the local repository that follows an address, below a cache."""
    return cache / "stores" / hashlib.sha256(address.text.encode()).hexdigest()[:_DIGITS]


def parse_address(path: str | os.PathLike[str]) -> Address:
    """Return the address that a text or path holds; ConfigError if it is malformed or needs an extra that is not installed."""
    address = well_formed_address(path)
    extra, module = _EXTRAS.get(address.scheme, ("", ""))
    if module and find_spec(module) is None:
        raise ConfigError(f"{address.text}: needs `pip install 'mlrf[{extra}]'`")
    return address


def well_formed_address(path: str | os.PathLike[str]) -> Address:
    """Return the address that a text or path holds, for another machine to use; ConfigError says what is wrong with it."""
    given = os.fspath(path)
    scheme = (scheme_of(given) or "").lower()
    if scheme not in _MLFLOW:
        given = _with_slashes(scheme, given)
    if scheme in _LATER:
        raise ConfigError(
            f"{given}: {_LATER[scheme]} ({scheme}://) is not supported; copy it to this machine, or serve it by s3:// or https://"
        )
    if scheme in _MLFLOW:
        return _mlflow_address(scheme, given)
    if scheme not in _SCHEMES:
        raise ConfigError(f"{given}: {scheme} addresses are not supported; copy it to this machine and give its path")
    rest = given[len(scheme) + 1 :].lstrip("/")
    address = Address(f"{scheme}://{rest.rstrip('/')}")
    if not address.host or any(mark in rest for mark in ("?", "#", "\\")) or not rest.isprintable():
        raise ConfigError(f"{given}: is not an address of the form {scheme}://…/PATH, without a query")
    if "@" in address.host:
        raise ConfigError(
            f"{scheme}://…{address.host.rpartition('@')[2]}: credentials do not belong in an address, because logs show "
            "it; give them as the store's own settings"
        )
    if any(part in ("", ".", "..") for part in address.path.split("/")) and address.path:
        raise ConfigError(f"{given}: has an empty part, `.` or `..` in its path")
    if scheme == "http" and not is_loopback(address.host):
        raise ConfigError(
            f"{given}: http:// is accepted for this machine only, because others on the network could replace the model; use https://"
        )
    if scheme == "oci":
        artefact_reference(address)
    return address


def _with_slashes(scheme: str, given: str) -> str:
    """Return an address with two slashes, of which a path has one; ConfigError for three: the bucket or host is missing."""
    if given[len(scheme) :].startswith(":///"):
        raise ConfigError(f"{given}: has no {'bucket' if scheme == 's3' else 'host'}: the form is {scheme}://…/PATH")
    return re.sub(r":/+", "://", given, count=1)


def may_redirect(address: Address, url: str) -> bool:
    """Return whether a store may redirect to a URL: https, or http at its own host and port if it is on this machine.

    Another port of this machine, or another address of it, may belong to another service.
    """
    scheme, _, rest = url.partition("://")
    if scheme.lower() == "http":
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0].lower()
        own = address.host.lower()
        return is_loopback(own) and authority.removesuffix(_HTTP_PORT) == own.removesuffix(_HTTP_PORT)
    return scheme.lower() == "https"


def is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is this machine."""
    return _LOOPBACK.fullmatch(host) is not None


def _mlflow_address(scheme: str, given: str) -> Address:
    rest = given[len(scheme) + 1 :].lstrip("/")
    parts = rest.split("/")
    is_right = _MLFLOW_PATH.fullmatch(rest) is not None if scheme == "models" else len(parts) > 1 and all(parts)
    if not is_right or ".." in parts or not rest.isprintable():
        form = "models:/NAME/VERSION or models:/NAME@ALIAS" if scheme == "models" else "runs:/ID/PATH"
        raise ConfigError(f"{given}: is not an address of the form {form}")
    return Address(f"{scheme}:/{rest}")
