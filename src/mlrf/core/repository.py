"""The model repository: bundles by model and version, and for each model a pointer to its current version.

    REPOSITORY/NAME/1/ 2/ …      bundles, never changed once written
    REPOSITORY/NAME/current.json the pointer: number, digest, and the versions that were current before

A version has a number, in the order of publishing, and the digest of its manifest. The pointer is replaced atomically:
a reader sees the old one or the new one. This module reads, as a server does; `publishing` writes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import msgspec

from mlrf.core.bundle import Bundle, read_bundle
from mlrf.core.bundle_files import MAX_MANIFEST_BYTES
from mlrf.core.errors import BundleError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.core.manifest import MANIFEST, NAME_PATTERN

POINTER = "current.json"
INDEX = "index.json"
"""The names of a repository's models, for stores that cannot list folders."""
_MAX_POINTER_BYTES = 1 << 16
_NUMBER = lazy_pattern(r"[1-9][0-9]{0,8}")
_DIGEST = lazy_pattern(r"[0-9a-f]{64}")
_DIGEST_PREFIX = lazy_pattern(r"[0-9a-f]{6,64}")


class Version(msgspec.Struct, frozen=True):
    """A version of a model: its number and the digest of its manifest."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"{self.number} ({self.digest[:12]})"


class Pointer(Version, frozen=True, forbid_unknown_fields=True):
    """`current.json`: the current version, and the numbers that were current before it, the latest last."""

    before: tuple[int, ...] = ()

    @property
    def version(self) -> Version:
        """The current version."""
        return Version(self.number, self.digest)


class Index(msgspec.Struct, frozen=True):
    """`index.json`."""

    models: list[str]


class ModelDirectory(msgspec.Struct, frozen=True):
    """The versions of one model in a repository."""

    path: Path

    @property
    def name(self) -> str:
        """The model's name."""
        return self.path.name

    def pointer(self) -> Pointer:
        """Return the pointer; BundleError when it is missing or damaged."""
        path = self.path / POINTER
        try:
            raw = _read_regular(path, _MAX_POINTER_BYTES)
        except FileNotFoundError as error:
            raise BundleError(
                f"{self.path}: no version has been published; publish one with `mlrf publish`", file=POINTER
            ) from error
        except OSError as error:
            raise _bad_pointer(path, error) from error
        return decode_pointer(path, raw)

    def numbers(self) -> list[int]:
        """Return the numbers of all versions, ascending."""
        try:
            return sorted(int(entry.name) for entry in os.scandir(self.path) if _NUMBER.fullmatch(entry.name))
        except OSError as error:
            raise BundleError(f"{self.path}: cannot be read: {error.strerror}") from error

    def version(self, number: int) -> Version:
        """Return the version with a number, and its digest; BundleError when there is none."""
        try:
            raw = _read_regular(self.path / str(number) / MANIFEST, MAX_MANIFEST_BYTES)
        except OSError as error:
            raise BundleError(f"{self.path}: there is no version {number}", version=number) from error
        return Version(number, hashlib.sha256(raw).hexdigest())

    def find(self, requested: str | None) -> Version:
        """Return the version that a number or the first digits of a digest name, the current one for None.

        BundleError when there is none.
        """
        if requested is None:
            return self.pointer().version
        if _NUMBER.fullmatch(requested) and int(requested) in self.numbers():
            return self.version(int(requested))
        if is_digest_prefix(requested):
            found = [v for v in map(self.version, self.numbers()) if v.digest.startswith(requested)]
            if len({v.digest for v in found}) == 1:
                return found[0]
        existing = ", ".join(map(str, self.numbers())) or "none"
        raise BundleError(
            f"{self.path}: {requested!r} is not a version; the versions are {existing}", version=requested
        )

    def read(self, version: Version) -> Bundle:
        """Return the bundle of a version, fully checked; BundleError when it is damaged or has another name or digest."""
        bundle = read_bundle(self.path / str(version.number))
        if bundle.version != version.digest:
            raise BundleError(
                f"{bundle.path}: its digest is {bundle.short_version}, not {version.digest[:12]} as published",
                file=MANIFEST,
            )
        if bundle.name != self.name:
            raise BundleError(f"{bundle.path}: contains the model {bundle.name!r}, not {self.name!r}", file=MANIFEST)
        return bundle


def decode_pointer(path: Path | str, raw: bytes) -> Pointer:
    """Return a pointer from the bytes of its file; BundleError when they are not one."""
    try:
        pointer = msgspec.json.decode(raw, type=Pointer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _bad_pointer(path, error) from error
    if not _NUMBER.fullmatch(str(pointer.number)) or not _DIGEST.fullmatch(pointer.digest):
        raise BundleError(f"{path}: names no version; publish a version again to replace it", file=POINTER)
    return pointer


def _bad_pointer(path: Path | str, error: Exception) -> BundleError:
    return BundleError(
        f"{path}: is not a valid pointer file: {error}; publish a version again to replace it", file=POINTER
    )


def version_number(name: str) -> int | None:
    """Return the number of the version whose folder has this name; None for another folder."""
    return int(name) if _NUMBER.fullmatch(name) else None


def is_digest_prefix(text: str) -> bool:
    """Return whether a text is a prefix of a digest: at least six hexadecimal digits."""
    return _DIGEST_PREFIX.fullmatch(text) is not None


def model_directories(path: Path) -> list[ModelDirectory]:
    """Return the models of a repository, or of the one model that a path within it names; none when it is not a repository."""
    if (path / MANIFEST).exists():
        return []
    if (path / POINTER).exists():
        return [ModelDirectory(path.resolve())]
    try:
        found = sorted(entry.name for entry in os.scandir(path) if NAME_PATTERN.fullmatch(entry.name))
    except OSError:
        return []
    return [ModelDirectory(path.resolve() / name) for name in found if (path / name / POINTER).exists()]


def _read_regular(path: Path, max_bytes: int) -> bytes:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > max_bytes:
        raise OSError(f"{path.name} is not a file of at most {max_bytes} bytes")
    return path.read_bytes()
