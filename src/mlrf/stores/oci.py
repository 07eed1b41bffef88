"""Bundles as OCI artefacts in a registry of container images (`mlrf[oci]`).

The layers of an artefact are the files of a bundle, each titled with its name (`mlrf publish`, or `oras push HOST/NAME:TAG
FILE…`). Its tag is resolved once, when the store is opened; layers are fetched by their digests.
"""

from __future__ import annotations

from typing import Annotated, Any, BinaryIO

import msgspec

from mlrf.core.errors import RepositoryError
from mlrf.stores.address import Address
from mlrf.stores.interface import Content
from mlrf.stores.registry_client import RegistryClient, at_most, digest_of

TITLE = "org.opencontainers.image.title"
_CHUNK_BYTES = 1 << 20
_ABSENT, _OK = 404, 200


class Layer(msgspec.Struct, frozen=True, rename="camel"):
    """A layer of an artefact."""

    digest: Annotated[str, msgspec.Meta(pattern="^[a-z0-9+._-]+:[0-9a-fA-F]{32,}$")]
    annotations: dict[str, str] | None = None
    size: int = 0
    media_type: str = "application/octet-stream"


class _Artefact(msgspec.Struct, frozen=True):
    layers: list[Layer] = []


class OciStore:
    """The files of one artefact."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._client = RegistryClient(address, timeout_s)
        with self._client.errors():
            content = self._client.manifest()
            if content is None:
                raise RepositoryError(f"{address.text}: there is no such artefact")
            self._layers = titled_layers(content)
        self._digest = digest_of(content)

    @property
    def resolved(self) -> str:
        """The address with the digest of the artefact."""
        return self._address.text if self._client.reference.digest else f"{self._address.text}@{self._digest}"

    def read(self, name: str, limit_bytes: int) -> Content:
        """Return the content of a layer; its digest is the token."""
        layer = self._layer(name)
        with self._client.errors(), self._blob(name, layer) as answer:
            # Counted, because the size that a registry states is not always true.
            content = at_most(answer, limit_bytes)
        if digest_of(content) != layer.digest:
            raise RepositoryError(f"{self._address.text}/{name}: does not have the digest that the registry says")
        return Content(content, layer.digest)

    def download(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """Write the content of a layer to an open file."""
        layer = self._layer(name)
        left = size_bytes
        with self._client.errors(), self._blob(name, layer) as answer:
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

    def _layer(self, name: str) -> Layer:
        if name not in self._layers:
            raise FileNotFoundError(f"{self._address.text}/{name}")
        return self._layers[name]

    def _blob(self, name: str, layer: Layer) -> Any:
        answer = self._client.request("GET", f"blobs/{layer.digest}", stream=True)
        if answer.status_code == _ABSENT:
            raise FileNotFoundError(f"{self._address.text}/{name}")
        return self._client.check(answer, _OK, name=name)


def titled_layers(artefact: bytes) -> dict[str, Layer]:
    """Return the layers of an artefact's manifest by their titles, the names of files; MsgspecError when it is no manifest."""
    layers = msgspec.json.decode(artefact, type=_Artefact).layers
    return {each.annotations.get(TITLE, ""): each for each in layers if each.annotations}
