"""Pins model files in memory, so that every worker, even one started later, serves the bytes that were checked.

A worker opens its engine long after the digests were checked, and a replacement opens it later still. By then the bundle may
have been overwritten, or rebuilt at the same path. Therefore the process that reads the bundle (the arbiter at the start, a
worker that loads it on request) copies the engine's file into sealed memory once and checks the copy. All workers map that one
copy, which cannot be changed or truncated. At the start the arbiter makes the memory, and the child process that replays golden
rows fills it, while the arbiter imports the server.

The arbiter keeps the descriptors for workers started later. A process opens another process's descriptor by its number under
/proc, so nothing has to be sent and nothing blocks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mlrf.core.bundle import Bundle, Check
from mlrf.core.bundle_files import digest_file
from mlrf.core.errors import BundleError
from mlrf.core.manifest import FINAL_FOREST, FOREST, GOLDEN_ROWS, LEAVES, MANIFEST, SCHEMA
from mlrf.engines.selection import engine_file
from mlrf.model.explanation_kinds import GAME_OPTIONS

_OF_GAMES = tuple(option.file for option in GAME_OPTIONS)
_CHUNK_BYTES = 1 << 18
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def pin_model(bundle: Bundle, engine: str | None) -> Bundle:
    """Return the bundle with memory for its engine file and golden rows, which `fill_pinned` fills.

    BundleError if it lacks one of them.
    """
    names = (*_served_files(bundle, engine), GOLDEN_ROWS)
    for name in names:
        bundle.file(name)
    return msgspec.structs.replace(bundle, pinned={name: _memory(bundle, name) for name in names})


def fill_pinned(bundle: Bundle, check: Check) -> None:
    """Check the files of a bundle, copying those that are pinned into the memory that `pin_model` made, and seal it.

    In this process or one forked from it; every file is read once. Errors as of `check`.
    """

    def digest(path: Path) -> str:
        descriptor = bundle.pinned.get(path.name)
        return digest_file(path) if descriptor is None else _copied(path, descriptor)

    check(digest)
    for descriptor in bundle.pinned.values():
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)


def check_filled(bundle: Bundle) -> None:
    """Raise BundleError unless all pinned files were filled: only then are they sealed."""
    for name, descriptor in bundle.pinned.items():
        if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) != _SEALS:
            raise BundleError(f"{bundle.path}: {name} was not read; start again", file=name)


def release_golden_rows(bundle: Bundle) -> Bundle:
    """Return the bundle without its pinned golden rows, to be called once they have been replayed."""
    if GOLDEN_ROWS in bundle.pinned:
        os.close(bundle.pinned[GOLDEN_ROWS])
    pinned = {name: descriptor for name, descriptor in bundle.pinned.items() if name != GOLDEN_ROWS}
    return msgspec.structs.replace(bundle, pinned=pinned)


def pin_bundle(bundle: Bundle, engine: str | None) -> dict[str, int]:
    """Return descriptors, by name, of copies of all files that a worker needs; errors as in `pin_model`."""
    pinned: dict[str, int] = {}
    try:
        for name in (MANIFEST, SCHEMA, GOLDEN_ROWS, *_served_files(bundle, engine)):
            if name == MANIFEST or name in bundle.manifest.files:
                pinned[name] = _copy(bundle, name)
    except BundleError:
        close_descriptors(pinned)
        raise
    return pinned


def open_descriptors(pid: int, pinned: Mapping[str, int]) -> dict[str, int]:
    """Return new descriptors of files that another process of this server has open; BundleError if it has closed them."""
    taken: dict[str, int] = {}
    try:
        for name, descriptor in pinned.items():
            taken[name] = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        close_descriptors(taken)
        raise BundleError(
            f"the bundle files that process {pid} opened cannot be read: {error.strerror}; load the bundle again"
        ) from error
    return taken


def close_descriptors(pinned: Mapping[str, int]) -> None:
    """Close descriptors; the memory is freed when no process has it open or mapped."""
    for descriptor in pinned.values():
        os.close(descriptor)


def _served_files(bundle: Bundle, engine: str | None) -> list[str]:
    """Return the engine's file, and what else the bundle has for it: final trees, leaf numbers, and what games need."""
    name = engine_file(bundle, engine)
    if name != FOREST:
        return [name]
    return [name, *(each for each in (FINAL_FOREST, LEAVES, *_OF_GAMES) if each in bundle.manifest.files)]


def _memory(bundle: Bundle, name: str) -> int:
    return os.memfd_create(f"mlrf-{bundle.name}-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _copy(bundle: Bundle, name: str) -> int:
    descriptor = _memory(bundle, name)
    try:
        _fill(bundle, name, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _fill(bundle: Bundle, name: str, descriptor: int) -> None:
    listed = bundle.version if name == MANIFEST else bundle.manifest.files[name].sha256
    try:
        if _copied(bundle.path / name, descriptor) != listed:
            raise BundleError(f"{bundle.path}: {name} was changed while it was read; start again", file=name)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        raise BundleError(f"{bundle.path}: {name} cannot be read: {error.strerror}", file=name) from error


def _copied(path: Path, descriptor: int) -> str:
    """Copy a file into memory and return the sha256 of what was copied, in hex."""
    digest = hashlib.sha256()
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    with path.open("rb", buffering=0) as file, os.fdopen(os.dup(descriptor), "wb") as memory:
        while n := file.readinto(chunk):
            digest.update(chunk[:n])
            memory.write(chunk[:n])
    return digest.hexdigest()
