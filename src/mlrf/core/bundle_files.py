"""Checks the files of a bundle's directory: regular files with the sizes and digests in the manifest, and no others."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from mlrf.core.errors import BundleError
from mlrf.core.file_kinds import wrong_content
from mlrf.core.manifest import MANIFEST, SIGNATURE, FileEntry, Manifest

MAX_MANIFEST_BYTES = 64 << 20
MAX_SIGNATURE_BYTES = 1 << 20
_SIGNATURE_IN_WORK = f".{SIGNATURE}.writing-"
Digest = Callable[[Path], str]
"""Returns the sha256 of a file in hex, as `digest_file` does."""


def digest_file(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(root: Path, manifest: Manifest, digest: Digest = digest_file, *, allow_links: bool = False) -> None:
    """Check all files of a bundle against its manifest; BundleError names the first that is wrong.

    `digest` is called once for each listed file, so that it may also copy the file that it reads.
    """
    # Call stat before opening anything: no device must be read, and no link followed unless that is allowed.
    try:
        entries = os.scandir(root)
        present = {entry.name: entry for entry in entries if not (allow_links and entry.name.startswith(".."))}
    except OSError as error:
        raise BundleError(f"{root}: cannot be read: {error.strerror}") from error
    if SIGNATURE in present:
        _check_signature_file(root, present.pop(SIGNATURE), allow_links=allow_links)
    # A signature that is being written, or whose writer was killed, is no part of the bundle.
    present = {name: entry for name, entry in present.items() if not name.startswith(_SIGNATURE_IN_WORK)}
    if extra := sorted(present.keys() - manifest.files.keys() - {MANIFEST}):
        raise BundleError(f"{root}: {extra[0]} is in the directory but not in the manifest; remove it", file=extra[0])
    for name, listed in manifest.files.items():
        if name not in present:
            raise BundleError(f"{root}: {name} is missing", file=name)
        try:
            _check_file(root, present[name], listed, digest, allow_links=allow_links)
        except OSError as error:
            raise BundleError(f"{root}: {name} cannot be read: {error.strerror}", file=name) from error


def _check_file(root: Path, entry: os.DirEntry[str], listed: FileEntry, digest: Digest, *, allow_links: bool) -> None:
    name = entry.name
    found = entry.stat(follow_symlinks=allow_links)
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular(root, name, found)
    if found.st_size != listed.size_bytes:
        raise BundleError(f"{root}: {name} has {found.st_size} bytes, the manifest says {listed.size_bytes}", file=name)
    if digest(root / name) != listed.sha256:
        raise BundleError(
            f"{root}: {name} was altered: its SHA-256 differs from the manifest's; copy the bundle again", file=name
        )
    if (wrong := wrong_content(root / name)) is not None:
        raise BundleError(f"{root}: {name} {wrong}; build it again", file=name)


def _check_signature_file(root: Path, entry: os.DirEntry[str], *, allow_links: bool) -> None:
    """Check the kind and size of the signature; only a verification reads it."""
    try:
        found = entry.stat(follow_symlinks=allow_links)
    except OSError as error:
        raise BundleError(f"{root}: {SIGNATURE} cannot be read: {error.strerror}", file=SIGNATURE) from error
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular(root, SIGNATURE, found)
    if found.st_size > MAX_SIGNATURE_BYTES:
        raise BundleError(f"{root}: {SIGNATURE} has {found.st_size} bytes, too many for a signature", file=SIGNATURE)


def _not_regular(root: Path, name: str, found: os.stat_result) -> BundleError:
    remedy = "; `mlrf serve --allow-links` follows links" * stat.S_ISLNK(found.st_mode)
    return BundleError(f"{root}: {name} is not a regular file{remedy}", file=name)


def read_small(root: Path, name: str, *, allow_links: bool = False) -> bytes:
    """Return the content of a manifest or schema; BundleError when there is none, or it is too long or not a regular file."""
    path = root / name
    try:
        found = path.stat(follow_symlinks=allow_links)
        if not stat.S_ISREG(found.st_mode):
            raise _not_regular(root, name, found)
        if found.st_size > MAX_MANIFEST_BYTES:
            raise BundleError(
                f"{root}: {name} has {found.st_size} bytes, more than any file that mlrf writes", file=name
            )
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = (
            f"has no {name}, so it is not a bundle"
            if root.is_dir()
            else "is not a directory, and a bundle is a directory"
        )
        raise BundleError(f"{root}: {reason}; make one with `mlrf build`", file=name) from error
    except OSError as error:
        raise BundleError(f"{root}: {name} cannot be read: {error.strerror}", file=name) from error
