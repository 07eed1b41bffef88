"""The mirror of a store: a local model repository that follows it, so that a server watches and serves it like any other.

    CACHE/stores/ADDRESS/NAME/current.json     the store's pointer, written when its version is complete and checked
    CACHE/stores/ADDRESS/NAME/3                a link to CACHE/bundles/DIGEST
    CACHE/bundles/DIGEST/                      the bundle; DIGEST-SIGNATURE/ if it is signed

1. A pointer of the mirror always names a complete version. Whatever is wrong in the store leaves the mirror as it is.
2. A store of one bundle has no numbers: each content that it has had gets the next one.
3. A fault of one model does not keep the others from being followed, whatever the fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from mlrf.core.atomic_files import replace_file
from mlrf.core.bundle_files import MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES
from mlrf.core.cached_bundles import cached_digest
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.manifest import MANIFEST, NAME_PATTERN, SIGNATURE
from mlrf.core.repository import POINTER, ModelDirectory, Pointer, decode_pointer, model_directories
from mlrf.stores.address import Address, mirror_path
from mlrf.stores.bundle_cache import BundleCache
from mlrf.stores.interface import MAX_MODELS, StoreReader

_POINTER_BYTES = 1 << 16


class Change(NamedTuple):
    """A version that the mirror points to from now on, and what the address meant."""

    model: str
    number: int
    digest: str
    resolved: str


class _Published(NamedTuple):
    """A model in the store: its folder, its pointer (None for a single bundle), and a token that changes with it."""

    folder: str
    pointer: bytes | None
    token: str


class Mirror:
    """The local repository of one address."""

    def __init__(self, address: Address, cache: Path, open_reader: Callable[[], StoreReader]) -> None:
        self.address = address
        self.path = mirror_path(address, cache)
        self._cache = BundleCache(cache)
        self._open_reader = open_reader
        self._seen: dict[str, str] = {}
        """By folder, the token of the pointer that was followed."""

    @property
    def is_empty(self) -> bool:
        """Whether no version has ever been fetched."""
        return not model_directories(self.path)

    def sync(self) -> Iterator[Change]:
        """Follow the store once, and yield each version that is new.

        RepositoryError or BundleError at the end, for the first model that could not be followed.
        """
        reader = self._open_reader()
        first: Exception | None = None
        for published in _published(reader):
            try:
                change = self._follow(reader, published)
            except FileNotFoundError as error:
                first = first or RepositoryError(f"{error}: is missing in the store")
            except (RepositoryError, BundleError) as error:
                first = first or error
            except OSError as error:
                first = first or RepositoryError(f"{self.path} could not be written: {error.strerror}")
            except Exception as error:  # noqa: BLE001  of the libraries of stores
                first = first or RepositoryError(f"{self.address.text}: {type(error).__name__}: {error}")
            else:
                if change is not None:
                    yield change
        if first is not None:
            raise first

    def _follow(self, reader: StoreReader, published: _Published) -> Change | None:
        folder, raw, token = published
        if self._seen.get(folder) == token:
            return None
        if raw is None:
            cached = self._cache.fetch(reader, "")
            name, pointer = cached.manifest.name, self._next_pointer(cached.manifest.name, cached.digest)
        else:
            prefix = f"{folder}/" if folder else ""
            pointer = decode_pointer(f"{self.address.text}/{prefix}{POINTER}", raw)
            cached = self._cache.fetch(reader, f"{prefix}{pointer.number}", pointer.digest)
            name = folder or self.address.path.rpartition("/")[2]
        if cached.manifest.name != name:
            raise BundleError(
                f"{self.address.text}: the folder {name} contains the model {cached.manifest.name!r}", file=MANIFEST
            )
        self._point(name, pointer, cached.path, is_first=folder not in self._seen)
        self._seen[folder] = token
        return Change(name, pointer.number, pointer.digest, reader.resolved)

    def _next_pointer(self, name: str, digest: str) -> Pointer:
        """Return a pointer to a digest: with the number that it had before, or the next one."""
        directory = ModelDirectory(self.path / name)
        numbers = directory.numbers() if directory.path.exists() else []
        known = {cached_digest((directory.path / str(each)).resolve().name): each for each in numbers}
        return Pointer(known.get(digest) or max(numbers, default=0) + 1, digest)

    def _point(self, name: str, pointer: Pointer, target: Path, *, is_first: bool) -> None:
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / str(pointer.number)
        work = folder / f".{pointer.number}.linking-{os.getpid()}"
        work.unlink(missing_ok=True)
        work.symlink_to(os.path.relpath(target, folder))
        is_new = not link.is_symlink() or link.readlink() != work.readlink()
        work.replace(link)
        raw = msgspec.json.encode(pointer) + b"\n"
        with suppress(FileNotFoundError):
            if is_first and not is_new and (folder / POINTER).read_bytes() == raw:
                return  # after a restart: the server need not try again what it has refused
        replace_file(folder / POINTER, raw)


def _published(reader: StoreReader) -> list[_Published]:
    """Return what the address holds: one model, one bundle, or the models of a repository; RepositoryError if nothing."""
    with suppress(FileNotFoundError):
        return [_Published("", *reader.read(POINTER, _POINTER_BYTES))]
    with suppress(FileNotFoundError):
        token = f"{reader.resolved} {reader.read(MANIFEST, MAX_MANIFEST_BYTES).token}"
        with suppress(FileNotFoundError):
            token += f" {reader.read(SIGNATURE, MAX_SIGNATURE_BYTES).token}"
        return [_Published("", None, token)]
    found = []
    folders = reader.folders()
    if len(folders) > MAX_MODELS:
        raise RepositoryError(
            f"{reader.resolved}: lists more than {MAX_MODELS} models; give addresses of single models"
        )
    for folder in folders:
        if NAME_PATTERN.fullmatch(folder):
            with suppress(FileNotFoundError):
                found.append(_Published(folder, *reader.read(f"{folder}/{POINTER}", _POINTER_BYTES)))
    if not found:
        raise RepositoryError(
            f"{reader.resolved}: there is no bundle, no model and no repository (a repository over https needs index.json)"
        )
    return found
