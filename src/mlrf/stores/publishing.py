"""Publishing to a store that can be written, in the layout of a local repository.

1. A new version is claimed by its manifest, written on condition that there is none of its number; its files follow.
2. The pointer is written last, on condition that it is the one that was read: of two publishers one is refused.
3. A publisher that is killed leaves the old pointer; publishing the same bundle again completes its version.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from mlrf.core.bundle import Bundle, describe_bundle
from mlrf.core.bundle_files import MAX_MANIFEST_BYTES
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.manifest import MANIFEST, SCHEMA, SIGNATURE
from mlrf.core.named_bundle import open_bundle
from mlrf.core.publishing import MAX_BEFORE, check_contract
from mlrf.core.repository import INDEX, POINTER, Index, Pointer, Version, decode_pointer, version_number
from mlrf.stores.interface import Content, StoreReader, StoreWriter

_POINTER_BYTES = 1 << 16
_INDEX_BYTES = 1 << 20


def publish_to_store(
    source: Path,
    store: StoreWriter,
    *,
    allow_schema_change: bool = False,
    prove: Callable[[Bundle], object] = lambda _bundle: None,
) -> tuple[str, Version]:
    """Write a bundle to a store as the next version of its model, and point to it; return the model's name and the version.

    Checks and errors are those of publishing to a directory; RepositoryError also when another publisher was faster.
    """
    bundle = open_bundle(source)
    prove(bundle)
    for file in (MANIFEST, POINTER):
        if _find(store, file) is not None:
            raise RepositoryError(
                f"{store.resolved}: is a bundle or one model of a repository; name the repository itself"
            )
    content = _find(store, f"{bundle.name}/{POINTER}", _POINTER_BYTES)
    before = None
    with suppress(BundleError):
        before = None if content is None else decode_pointer(f"{store.resolved}/{bundle.name}/{POINTER}", content.body)
    if before is not None and not allow_schema_change:
        check_stored_contract(store, f"{bundle.name}/{before.number}/", before.digest, bundle)
    version = Version(_write_version(store, bundle), bundle.version)
    try:
        _write_pointer(store, bundle.name, version, before, content)
    except FileExistsError as error:
        raise RepositoryError(
            f"{store.resolved}/{bundle.name}: another version was published meanwhile; look at it, and publish again"
        ) from error
    _add_to_index(store, bundle.name)
    return bundle.name, version


def store_versions(reader: StoreReader, folder: str = "") -> tuple[Pointer, dict[int, str | None]]:
    """Return a model's pointer in a store and the digest of each version by number; None for one that cannot be read."""
    prefix = f"{folder}/" if folder else ""
    content = _find(reader, prefix + POINTER, _POINTER_BYTES)
    if content is None:
        raise RepositoryError(f"{reader.resolved}: is not one model of a repository; name one as REPOSITORY/NAME")
    pointer = decode_pointer(f"{reader.resolved}/{prefix}{POINTER}", content.body)
    numbers = {number for each in reader.folders(folder) if (number := version_number(each))} | {pointer.number}
    found: dict[int, str | None] = {}
    for number in sorted(numbers):
        manifest = _find(reader, f"{prefix}{number}/{MANIFEST}", MAX_MANIFEST_BYTES)
        found[number] = None if manifest is None else hashlib.sha256(manifest.body).hexdigest()
    return pointer, found


def _find(reader: StoreReader, name: str, limit_bytes: int = MAX_MANIFEST_BYTES) -> Content | None:
    try:
        return reader.read(name, limit_bytes)
    except FileNotFoundError:
        return None


def check_stored_contract(store: StoreReader, prefix: str, digest: str, bundle: Bundle) -> None:
    """Raise SchemaChangedError if a bundle is incompatible with the clients of the one that a store has below a prefix."""
    parts = {name: _find(store, prefix + name) for name in (MANIFEST, SCHEMA)}
    with tempfile.TemporaryDirectory() as work:
        for name, content in parts.items():
            if content is not None:
                (Path(work) / name).write_bytes(content.body)
        old = describe_bundle(work, bundle.name, digest)
    if old.version:
        check_contract(old, bundle)


def _write_version(store: StoreWriter, bundle: Bundle) -> int:
    """Write the bundle's files under its number, the one that it already has or the next free one, and return that."""
    manifest = (bundle.path / MANIFEST).read_bytes()
    number = _claim(store, bundle, manifest)
    folder = f"{bundle.name}/{number}"
    for name in bundle.manifest.files:
        with (bundle.path / name).open("rb") as file:
            store.write(f"{folder}/{name}", file)
    if (signature := bundle.path / SIGNATURE).exists():
        store.write(f"{folder}/{SIGNATURE}", signature.read_bytes())
    return number


def _claim(store: StoreWriter, bundle: Bundle, manifest: bytes) -> int:
    listed = _numbers(store, bundle.name)
    for number in sorted(listed, reverse=True):
        present = _find(store, f"{bundle.name}/{number}/{MANIFEST}")
        if present is not None and present.body == manifest:
            return number
    number = max(listed, default=0) + 1
    while True:
        try:
            store.write(f"{bundle.name}/{number}/{MANIFEST}", manifest, is_new=True)
        except FileExistsError:
            number += 1
        else:
            return number


def _numbers(store: StoreReader, name: str) -> set[int]:
    return {number for each in store.folders(name) if (number := version_number(each))}


def _write_pointer(
    store: StoreWriter, name: str, version: Version, before: Pointer | None, content: Content | None
) -> None:
    earlier: tuple[int, ...] = ()
    if before is not None:
        earlier = before.before if before.version == version else (*before.before, before.number)[-MAX_BEFORE:]
    raw = msgspec.json.encode(Pointer(version.number, version.digest, earlier)) + b"\n"
    if content is None:
        store.write(f"{name}/{POINTER}", raw, is_new=True)
    else:
        store.write(f"{name}/{POINTER}", raw, replacing=content.token)


def _add_to_index(store: StoreWriter, name: str) -> None:
    """List the model in `index.json`, for readers over https of the same objects."""
    content = _find(store, INDEX, _INDEX_BYTES)
    names: list[str] = []
    with suppress(msgspec.MsgspecError):
        names = [] if content is None else msgspec.json.decode(content.body, type=Index).models
    if name not in names:
        store.write(INDEX, msgspec.json.encode(Index(sorted({*names, name}))) + b"\n")
