"""Bundles as OCI artefacts in a registry of container images, through oras (`mlrf[oci]`), with docker's credentials.

The layers of an artefact are the files of a bundle, each titled with its name (`oras push HOST/NAME:TAG FILE…`). Its tag is
resolved once, when the store is opened; layers are fetched by their digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import msgspec
import oras.provider
import requests
import urllib3
from requests.adapters import HTTPAdapter

from mlrf.core.errors import RepositoryError
from mlrf.stores.address import Address, is_loopback, may_redirect
from mlrf.stores.interface import Content

_CHUNK_BYTES = 1 << 20
_TITLE = "org.opencontainers.image.title"
_ARTEFACT_BYTES = 4 << 20
"""Longest manifest of an artefact, as registries limit it."""
_TOKEN_BYTES = 1 << 20
_ABSENT = 404
_OK = 200


class _Layer(msgspec.Struct, frozen=True):
    digest: str
    annotations: dict[str, str] | None = None


class _Artefact(msgspec.Struct, frozen=True):
    layers: list[_Layer] = []


class OciStore:
    """The files of one artefact."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._registry: Any = oras.provider.Registry(insecure=is_loopback(address.host))
        for scheme in ("http://", "https://"):
            self._registry.session.mount(scheme, _LimitedAdapter(address, timeout_s))
        with self._errors():
            self._container: Any = self._registry.get_container(address.text.removeprefix("oci://"))
            url = f"{self._registry.prefix}://{self._container.manifest_url()}"
            self._registry.auth.load_configs(self._container)
            accepted = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
            with self._checked(self._request(url, accepted, stream=True), "") as answer:
                content = _at_most(answer, _ARTEFACT_BYTES)
            self._digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            artefact = msgspec.json.decode(content, type=_Artefact)
        self._layers = {each.annotations.get(_TITLE, ""): each for each in artefact.layers if each.annotations}

    @property
    def resolved(self) -> str:
        """The address with the digest of the artefact."""
        return f"{self._address.text}@{self._digest}"

    def read(self, name: str, limit_bytes: int) -> Content:
        """Return the content of a layer; its digest is the token."""
        layer = self._layer(name)
        with self._errors(), self._blob(name, layer) as answer:
            # Counted, because the size that a registry states is not always true.
            content = _at_most(answer, limit_bytes)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != layer.digest:
            raise RepositoryError(f"{self._address.text}/{name}: does not have the digest that the registry says")
        return Content(content, layer.digest)

    def download(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """Write the content of a layer to an open file."""
        layer = self._layer(name)
        left = size_bytes
        with self._errors(), self._blob(name, layer) as answer:
            for chunk in answer.iter_content(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    break
                file.write(chunk)
        if left:
            raise RepositoryError(f"{self._address.text}/{name}: does not have the {size_bytes} bytes of the manifest")

    def folders(self, below: str = "") -> list[str]:  # noqa: ARG002  an artefact has no folders
        """Return nothing: an artefact is one bundle."""
        return []

    def _layer(self, name: str) -> _Layer:
        if name not in self._layers:
            raise FileNotFoundError(f"{self._address.text}/{name}")
        return self._layers[name]

    def _blob(self, name: str, layer: _Layer) -> Any:
        url = f"{self._registry.prefix}://{self._container.get_blob_url(layer.digest)}"
        return self._checked(self._request(url, {}, stream=True), name)

    def _request(self, url: str, headers: dict[str, str], *, stream: bool = False) -> Any:
        # Without oras' own retries: the caller tries again, and knows when.
        request = getattr(type(self._registry).do_request, "__wrapped__", type(self._registry).do_request)
        return request(self._registry, url, "GET", headers=headers, stream=stream)

    def _checked(self, answer: Any, name: str) -> Any:
        where = f"{self._address.text}/{name}".rstrip("/")
        if answer.status_code == _ABSENT:
            raise FileNotFoundError(where) if name else RepositoryError(f"{where}: there is no such artefact")
        if answer.status_code != _OK:
            raise RepositoryError(f"{where}: the registry answered {answer.status_code}")
        return answer

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, RepositoryError):
            raise
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
            KeyError,
            AttributeError,
        ) as error:
            raise RepositoryError(f"{self._address.text}: {type(error).__name__}: {error}") from error


def _at_most(answer: Any, limit_bytes: int) -> bytes:
    """Return the content of a streamed answer; RepositoryError once it is longer."""
    content = bytearray()
    for chunk in answer.iter_content(min(_CHUNK_BYTES, limit_bytes + 1)):
        content += chunk
        if len(content) > limit_bytes:
            raise RepositoryError(f"{answer.url}: has more than {limit_bytes} bytes")
    return bytes(content)


class _LimitedAdapter(HTTPAdapter):  # type: ignore[misc]  # requests is not looked into
    """Limits what oras and requests do not: the time of each wait, where redirects lead, the length of what is read whole."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        super().__init__()

    def send(self, request: Any, **options: Any) -> Any:
        if not may_redirect(self._address, request.url):
            raise requests.exceptions.InvalidURL(f"a redirect to {urlsplit(request.url).scheme} is refused")
        options["timeout"] = self._timeout_s
        answer = super().send(request, **options)
        # requests reads the body of a redirect, and of an answer with a token, to its end.
        if answer.is_redirect or not options.get("stream"):
            answer._content = _at_most(answer, _TOKEN_BYTES)  # noqa: SLF001  as requests does it
        return answer
