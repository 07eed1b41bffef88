"""Publishing a bundle to a registry of container images: an artefact with a layer per file, and a tag that points to it.

1. The files are uploaded first, by their digests; what the registry has already is not sent again. The tag is written last:
   a publisher that is killed leaves the tag as it was.
2. A tag that points to another bundle is replaced only on request, and a tag that points to something else never.
3. A signature that the tag's artefact has stays if the same bundle is published without one.
4. The same bundle and signature always make the same artefact, to the byte.

Registries have no conditional write: the tag is read again right before it is written, which leaves a moment in which the
later one of two publishers wins.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError, RepositoryError
from mlrf.core.manifest import MANIFEST, SIGNATURE
from mlrf.core.named_bundle import open_bundle
from mlrf.stores.address import Address
from mlrf.stores.oci import TITLE, Layer, OciStore, titled_layers
from mlrf.stores.publishing import check_stored_contract
from mlrf.stores.registry_client import OCI_MANIFEST, RegistryClient, digest_of

ARTEFACT_TYPE = "application/vnd.mlrf.bundle.v1"
_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_VERSION = "org.opencontainers.image.version"
_OTHER_KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_OK, _CREATED, _ACCEPTED, _ABSENT = 200, 201, 202, 404


class Published(NamedTuple):
    """What a tag points to: its address with the artefact's digest, and whether anything was written."""

    resolved: str
    name: str
    version: str
    is_new: bool


class _Upload(NamedTuple):
    """A layer, and the file or the bytes that it is made of."""

    layer: Layer
    content: Path | bytes

    def open(self) -> BinaryIO:
        """Return its content from the beginning."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


def publish_to_registry(
    source: Path,
    address: Address,
    timeout_s: float,
    *,
    force: bool = False,
    allow_schema_change: bool = False,
    prove: Callable[[Bundle], object] = lambda _bundle: None,
    on_bytes: Callable[[int, int], object] = lambda _done, _total: None,
) -> Published:
    """Upload a bundle to the repository of an `oci://` address, and point its tag to it.

    `on_bytes` is called with the bytes that are uploaded, and all bytes. ConfigError for an address with a digest; BundleError
    when the bundle is damaged; SchemaChangedError when it is incompatible with the clients of the bundle that it replaces and
    that is not allowed; RepositoryError when the tag points to something else, or the registry refuses.
    """
    bundle = open_bundle(source)
    prove(bundle)
    client = RegistryClient(address, timeout_s)
    if client.reference.digest:
        raise ConfigError(f"{address.text}: a digest cannot be published to; give a tag: oci://HOST/NAME:TAG")
    present = client.manifest(OCI_MANIFEST, *_OTHER_KINDS)
    uploads = _uploads(bundle)
    layers = [each.layer for each in uploads]
    if present is not None:
        replaced = _replaced_layers(address, present)
        version = replaced[MANIFEST].digest.removeprefix("sha256:")
        if version != bundle.version:
            _check_replaced(address, timeout_s, version, bundle, force=force, allow_schema_change=allow_schema_change)
        elif SIGNATURE in replaced and not any(each.annotations == {TITLE: SIGNATURE} for each in layers):
            layers.append(replaced[SIGNATURE])
    artefact = _encode(bundle, layers)
    published = Published(
        f"{address.text}@{digest_of(artefact)}", bundle.name, bundle.short_version, artefact != present
    )
    if published.is_new:
        with client.errors():
            _upload(client, [*uploads, _small("", _EMPTY)], on_bytes)
            if client.manifest(OCI_MANIFEST, *_OTHER_KINDS) != present:
                raise RepositoryError(
                    f"{address.text}: something else was published meanwhile; look at it, and publish again"
                )
            answer = client.request(
                "PUT", f"manifests/{client.reference.tag}", {"Content-Type": OCI_MANIFEST}, artefact
            )
            client.check(answer, _CREATED)
            if client.manifest() != artefact:
                raise RepositoryError(f"{address.text}: the registry does not answer with what was published")
    return published


def _uploads(bundle: Bundle) -> list[_Upload]:
    """Return what is uploaded for each file of a bundle, with the digests that its manifest lists."""
    found = [
        _Upload(Layer(f"sha256:{entry.sha256}", {TITLE: name}, entry.size_bytes), bundle.path / name)
        for name, entry in sorted(bundle.manifest.files.items())
    ]
    found.append(_small(MANIFEST, (bundle.path / MANIFEST).read_bytes()))
    with suppress(FileNotFoundError):
        found.append(_small(SIGNATURE, (bundle.path / SIGNATURE).read_bytes()))
    return found


def _small(name: str, content: bytes) -> _Upload:
    return _Upload(Layer(digest_of(content), {TITLE: name}, len(content)), content)


def _replaced_layers(address: Address, present: bytes) -> dict[str, Layer]:
    """Return the layers of the artefact that a tag points to; RepositoryError when it is not a bundle."""
    layers: dict[str, Layer] = {}
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        layers = titled_layers(present)
    if MANIFEST not in layers:
        raise RepositoryError(f"{address.text}: the tag points to something that is not a bundle; give another tag")
    return layers


def _check_replaced(
    address: Address, timeout_s: float, present: str, bundle: Bundle, *, force: bool, allow_schema_change: bool
) -> None:
    """Raise RepositoryError or SchemaChangedError if a bundle must not replace the one whose version is `present`."""
    if not force:
        raise RepositoryError(
            f"{address.text}: the tag points to another bundle ({present[:12]}); give a new tag, or --force to move this one"
        )
    if not allow_schema_change:
        check_stored_contract(OciStore(address, timeout_s), "", present, bundle)


def _encode(bundle: Bundle, layers: list[Layer]) -> bytes:
    """Return the manifest of a bundle's artefact, as OCI 1.1 recommends it for artefacts without a configuration."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTEFACT_TYPE,
        "config": {"mediaType": _EMPTY_TYPE, "digest": digest_of(_EMPTY), "size": len(_EMPTY)},
        "layers": layers,
        "annotations": {TITLE: bundle.name, _VERSION: bundle.short_version},
    }
    return msgspec.json.encode(document)


def _upload(client: RegistryClient, uploads: list[_Upload], on_bytes: Callable[[int, int], object]) -> None:
    """Upload what the repository does not have; RepositoryError when the registry refuses."""
    total, done = sum(each.layer.size for each in uploads), 0
    for each in uploads:
        with each.open() as file:
            _upload_blob(client, each.layer, _Counted(file, each.layer.size, partial(_add, on_bytes, done, total)))
        done += each.layer.size
        on_bytes(done, total)


def _add(on_bytes: Callable[[int, int], object], before: int, total: int, n_bytes: int) -> None:
    on_bytes(before + n_bytes, total)


def _upload_blob(client: RegistryClient, layer: Layer, body: _Counted) -> None:
    name = (layer.annotations or {}).get(TITLE, "")
    found = client.request("HEAD", f"blobs/{layer.digest}")
    if client.check(found, _OK, _ABSENT, name=name).status_code == _OK:
        return
    begun = client.check(client.request("POST", "blobs/uploads/"), _ACCEPTED, name=name)
    url = urljoin(begun.url, begun.headers["Location"])
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", layer.digest)])
    headers = {"Content-Type": "application/octet-stream"}
    client.check(
        client.request("PUT", parts._replace(query=query).geturl(), headers, cast("BinaryIO", body)),
        _CREATED,
        name=name,
    )


class _Counted:
    """An open file that reports how much of it was read."""

    def __init__(self, file: BinaryIO, size_bytes: int, on_bytes: Callable[[int], object]) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._on_bytes = on_bytes
        self._n_read = 0

    def __len__(self) -> int:
        return self._size_bytes

    def read(self, n_bytes: int = -1) -> bytes:
        """Return the next bytes."""
        content = self._file.read(n_bytes)
        self._n_read += len(content)
        self._on_bytes(self._n_read)
        return content

    def seek(self, offset: int) -> int:
        """Go to an offset, as before a request is repeated."""
        self._n_read = self._file.seek(offset)
        return self._n_read
