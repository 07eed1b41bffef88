"""A local cache of bundles by the digest of their manifest: `bundles/DIGEST/`, each complete and checked, or not there.

A signed bundle is in `bundles/DIGEST-SIGNATURE/`, so that two stores which share the cache keep their own signatures.

1. A bundle is fetched into a hidden directory, checked against its manifest, and renamed into place.
2. What is already there is read and checked once in a process; if it is damaged it is fetched again.
3. Only the files that the manifest lists are fetched, with the sizes that it says; and the signature, if there is one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mlrf.core.atomic_files import RENAME_NOREPLACE, is_abandoned, rename, sync_directory, write_file
from mlrf.core.bundle import decode_manifest, read_bundle
from mlrf.core.bundle_files import MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES
from mlrf.core.cached_bundles import cached_name
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.manifest import MANIFEST, SIGNATURE, Manifest
from mlrf.stores.interface import StoreReader

_WORK = ".fetching-"
_SPARE_BYTES = 64 << 20
"""Bytes that stay free on the disk."""


class CachedBundle(NamedTuple):
    """A bundle in the cache, checked."""

    path: Path
    digest: str
    manifest: Manifest


class BundleCache:
    """The bundles below a directory, fetched when they are asked for."""

    def __init__(self, root: Path) -> None:
        self._bundles = root / "bundles"
        self._checked: set[Path] = set()

    def fetch(self, reader: StoreReader, folder: str, digest: str | None = None) -> CachedBundle:
        """Fetch the bundle in a folder of the store, unless the cache has it; return it.

        `digest`: the one that it must have. BundleError when the store's files are not what manifest and digest say;
        FileNotFoundError and RepositoryError as the reader has them.
        """
        prefix = f"{folder}/" if folder else ""
        origin = f"{reader.resolved}/{folder}".rstrip("/")
        raw = reader.read(prefix + MANIFEST, MAX_MANIFEST_BYTES).body
        actual = hashlib.sha256(raw).hexdigest()
        if digest is not None and actual != digest:
            raise BundleError(f"{origin}: its digest is {actual[:12]}, not {digest[:12]} as published", file=MANIFEST)
        manifest = decode_manifest(origin, raw)
        signature = None
        with suppress(FileNotFoundError):
            signature = reader.read(prefix + SIGNATURE, MAX_SIGNATURE_BYTES).body
        target = self._bundles / cached_name(actual, signature)
        if not self._has(target, actual):
            twin = self._twin(actual)
            with self._work() as work:
                if twin is None:
                    self._download(reader, prefix, manifest, work)
                else:
                    _link_files(twin, manifest, work)
                self._add(work, target, raw, signature)
        return CachedBundle(target, actual, manifest)

    def _has(self, target: Path, digest: str) -> bool:
        if target in self._checked or not target.exists():
            return target.exists()
        try:
            is_sound = read_bundle(target).version == digest
        except BundleError:
            is_sound = False
        if is_sound:
            self._checked.add(target)
        else:
            shutil.rmtree(target, ignore_errors=True)
        return is_sound

    def _twin(self, digest: str) -> Path | None:
        """Return the same bundle with another signature or none, if the cache has it."""
        return next((each for each in sorted(self._bundles.glob(f"{digest}*")) if self._has(each, digest)), None)

    @contextmanager
    def _work(self) -> Iterator[Path]:
        """Yield a new hidden directory, and remove what is left of it."""
        self._bundles.mkdir(parents=True, exist_ok=True)
        self._sweep()
        work = self._bundles / f"{_WORK}{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _download(self, reader: StoreReader, prefix: str, manifest: Manifest, work: Path) -> None:
        needed = sum(entry.size_bytes for entry in manifest.files.values()) + _SPARE_BYTES
        if (free := shutil.disk_usage(self._bundles).free) < needed:
            raise RepositoryError(f"{self._bundles}: {free >> 20} MiB are free, {needed >> 20} MiB are needed")
        for name, entry in manifest.files.items():
            with (work / name).open("xb") as file:
                reader.download(prefix + name, file, entry.size_bytes)
                file.flush()
                os.fsync(file.fileno())

    def _add(self, work: Path, target: Path, raw: bytes, signature: bytes | None) -> None:
        """Complete a bundle in its hidden directory, check it, and move it into place."""
        write_file(work / MANIFEST, raw)
        if signature is not None:
            write_file(work / SIGNATURE, signature)
        sync_directory(work)
        read_bundle(work)
        with suppress(FileExistsError):
            rename(work, target, RENAME_NOREPLACE)
        sync_directory(self._bundles)
        self._checked.add(target)

    def _sweep(self) -> None:
        """Remove what fetchers that were killed have left."""
        for left in self._bundles.glob(f"{_WORK}*"):
            if is_abandoned(left.name.removeprefix(_WORK)):
                shutil.rmtree(left, ignore_errors=True)


def _link_files(source: Path, manifest: Manifest, work: Path) -> None:
    """Give files a second name, so that they are on the disk once; copy them where the file system has no links."""
    for name in manifest.files:
        try:
            os.link(source / name, work / name)
        except OSError:
            shutil.copyfile(source / name, work / name)
