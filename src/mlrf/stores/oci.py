"""Bundles as OCI artefacts in a registry of container images, through oras (`mlrf[oci]`), with docker's credentials.

The layers of an artefact are the files of a bundle, each titled with its name (`oras push HOST/NAME:TAG FILE…`). Its tag is
resolved once, when the store is opened; layers are fetched by their digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import oras.provider
import requests
from requests.adapters import HTTPAdapter

from mlrf.core.errors import RepositoryError
from mlrf.stores.address import Address, is_loopback
from mlrf.stores.interface import Content

_CHUNK_BYTES = 1 << 20
_TITLE = "org.opencontainers.image.title"
_ABSENT = 404
_OK = 200


class OciStore:
    """The files of one artefact."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._registry: Any = oras.provider.Registry(insecure=is_loopback(address.host))
        for scheme in ("http://", "https://"):
            self._registry.session.mount(scheme, _WithTimeout(timeout_s))
        with self._errors():
            self._container: Any = self._registry.get_container(address.text.removeprefix("oci://"))
            url = f"{self._registry.prefix}://{self._container.manifest_url()}"
            self._registry.auth.load_configs(self._container)
            accepted = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
            answer = self._checked(self._request(url, accepted), "")
            self._digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
            layers = answer.json().get("layers", [])
        self._layers = {each.get("annotations", {}).get(_TITLE, ""): each for each in layers}

    @property
    def resolved(self) -> str:
        """The address with the digest of the artefact."""
        return f"{self._address.text}@{self._digest}"

    def read(self, name: str, limit_bytes: int) -> Content:
        """Return the content of a layer; its digest is the token."""
        layer = self._layer(name)
        if layer["size"] > limit_bytes:
            raise RepositoryError(f"{self._address.text}/{name}: has more than {limit_bytes} bytes")
        with self._errors():
            content = self._blob(name, layer).content
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != layer["digest"]:
            raise RepositoryError(f"{self._address.text}/{name}: does not have the digest that the registry says")
        return Content(content, layer["digest"])

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

    def _layer(self, name: str) -> dict[str, Any]:
        if name not in self._layers:
            raise FileNotFoundError(f"{self._address.text}/{name}")
        layer: dict[str, Any] = self._layers[name]
        return layer

    def _blob(self, name: str, layer: dict[str, Any]) -> Any:
        url = f"{self._registry.prefix}://{self._container.get_blob_url(layer['digest'])}"
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
        except (requests.RequestException, OSError, ValueError, KeyError, AttributeError) as error:
            raise RepositoryError(f"{self._address.text}: {type(error).__name__}: {error}") from error


class _WithTimeout(HTTPAdapter):  # type: ignore[misc]  # requests is not looked into
    """Sends requests with a time limit, which oras gives none."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        super().__init__()

    def send(self, request: Any, **options: Any) -> Any:
        options["timeout"] = self._timeout_s
        return super().send(request, **options)
