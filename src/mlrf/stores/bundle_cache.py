"""A local cache of bundles by the digest of their manifest: `bundles/DIGEST/`, each complete and checked, or not there.

1. A bundle is fetched into a hidden directory, checked against its manifest, and renamed into place.
2. What is already there is read and checked once in a process; if it is damaged it is fetched again.
3. Only the files that the manifest lists are fetched, with the sizes that it says; and the signature, if there is one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from mlrf.core.atomic_files import RENAME_NOREPLACE, is_abandoned, rename, replace_file, sync_directory, write_file
from mlrf.core.bundle import decode_manifest, read_bundle
from mlrf.core.bundle_files import MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.manifest import MANIFEST, SIGNATURE, Manifest
from mlrf.stores.interface import StoreReader

_WORK = ".fetching-"
_SPARE_BYTES = 64 << 20
"""Bytes that stay free on the disk."""


class BundleCache:
    """The bundles below a directory, fetched when they are asked for."""

    def __init__(self, root: Path) -> None:
        self._bundles = root / "bundles"
        self._checked: set[str] = set()

    def path(self, digest: str) -> Path:
        """Return where the bundle of a digest is, or would be."""
        return self._bundles / digest

    def fetch(self, reader: StoreReader, folder: str, digest: str | None = None) -> tuple[str, Manifest]:
        """Fetch the bundle in a folder of the store, unless the cache has it; return its digest and manifest.

        `digest`: the one that it must have. BundleError when the store's files are not what manifest and digest say;
        FileNotFoundError and RepositoryError as the reader has them.
        """
        prefix = f"{folder}/" if folder else ""
        origin = Path(reader.resolved.replace("://", ":/", 1)) / folder
        raw = reader.read(prefix + MANIFEST, MAX_MANIFEST_BYTES).body
        actual = hashlib.sha256(raw).hexdigest()
        if digest is not None and actual != digest:
            raise BundleError(f"{origin}: its digest is {actual[:12]}, not {digest[:12]} as published", file=MANIFEST)
        manifest = decode_manifest(origin, raw)
        if not self._has(actual):
            self._add(reader, prefix, actual, raw, manifest)
        else:
            self._refresh_signature(reader, prefix, actual)
        return actual, manifest

    def _has(self, digest: str) -> bool:
        target = self.path(digest)
        if digest in self._checked or not target.exists():
            return target.exists()
        try:
            is_sound = read_bundle(target).version == digest
        except BundleError:
            is_sound = False
        if is_sound:
            self._checked.add(digest)
        else:
            shutil.rmtree(target, ignore_errors=True)
        return is_sound

    def _add(self, reader: StoreReader, prefix: str, digest: str, raw: bytes, manifest: Manifest) -> None:
        self._bundles.mkdir(parents=True, exist_ok=True)
        self._sweep()
        needed = sum(entry.size_bytes for entry in manifest.files.values()) + _SPARE_BYTES
        if (free := shutil.disk_usage(self._bundles).free) < needed:
            raise RepositoryError(f"{self._bundles}: {free >> 20} MiB are free, {needed >> 20} MiB are needed")
        work = self._bundles / f"{_WORK}{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            for name, entry in manifest.files.items():
                with (work / name).open("xb") as file:
                    reader.download(prefix + name, file, entry.size_bytes)
                    file.flush()
                    os.fsync(file.fileno())
            write_file(work / MANIFEST, raw)
            with suppress(FileNotFoundError):
                write_file(work / SIGNATURE, reader.read(prefix + SIGNATURE, MAX_SIGNATURE_BYTES).body)
            sync_directory(work)
            read_bundle(work)
            with suppress(FileExistsError):
                rename(work, self.path(digest), RENAME_NOREPLACE)
            sync_directory(self._bundles)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._checked.add(digest)

    def _refresh_signature(self, reader: StoreReader, prefix: str, digest: str) -> None:
        with suppress(FileNotFoundError):
            content = reader.read(prefix + SIGNATURE, MAX_SIGNATURE_BYTES).body
            present = self.path(digest) / SIGNATURE
            if not present.exists() or present.read_bytes() != content:
                replace_file(present, content)

    def _sweep(self) -> None:
        """Remove what fetchers that were killed have left."""
        for left in self._bundles.glob(f"{_WORK}*"):
            if is_abandoned(left.name.removeprefix(_WORK)):
                shutil.rmtree(left, ignore_errors=True)
