"""Writes to a model repository: publish a version, roll back, and replace the pointer atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from mlrf.core.atomic_files import RENAME_NOREPLACE, is_abandoned, rename, replace_file, sync_directory
from mlrf.core.bundle import Bundle, read_bundle
from mlrf.core.compatibility import contract_changes
from mlrf.core.errors import BundleError, RepositoryError, SchemaChangedError
from mlrf.core.manifest import MANIFEST, SIGNATURE
from mlrf.core.named_bundle import open_bundle
from mlrf.core.repository import INDEX, POINTER, Index, ModelDirectory, Pointer, Version, model_directories

_WORK = ".publishing-"
MAX_BEFORE = 100
"""Versions that a pointer remembers."""
_READ_ONLY = 0o444
_CHUNK_BYTES = 1 << 20
_SHOWN, _LISTED = 5, 20


def publish(
    source: Path,
    repository: Path,
    *,
    allow_schema_change: bool = False,
    prove: Callable[[Bundle], object] = lambda _bundle: None,
) -> tuple[ModelDirectory, Version]:
    """Copy a bundle into a repository as the next version of its model, and point to it.

    A bundle that is already there keeps its number and gets the signature that comes with this one; servers that refused it try
    it again. `prove` makes further checks (the command line replays golden rows) and raises BundleError. BundleError when the
    bundle is damaged; SchemaChangedError when it is incompatible with its clients and that is not allowed; RepositoryError when
    the repository cannot be written. The pointer always names a complete version. A damaged version or pointer does not prevent
    publishing a good version.
    """
    bundle = open_bundle(source)
    prove(bundle)
    model_directory = ModelDirectory(repository.absolute() / bundle.name)
    if (repository / MANIFEST).exists() or (repository / POINTER).exists():
        raise RepositoryError(f"{repository} is a bundle or one model of a repository; name the repository itself")
    if bundle.name in (MANIFEST, POINTER, INDEX):
        raise RepositoryError(f"a model of a repository cannot be named {bundle.name}; build it under another --name")
    if repository.exists() and not repository.is_dir():
        raise RepositoryError(
            f"{repository}: {os.strerror(errno.ENOTDIR)}; name the directory that holds, or is to hold, the models"
        )
    before, old = _current(model_directory)
    if old is not None and not allow_schema_change:
        check_contract(old, bundle)
    try:
        model_directory.path.mkdir(parents=True, exist_ok=True)
        sync_directory(model_directory.path.parent)
        _sweep(model_directory)
        version = _undamaged_version(model_directory, bundle)
        if version is None:
            version = _add(model_directory, bundle)
        elif (bundle.path / SIGNATURE).exists():
            _replace_signature(bundle, model_directory.path / str(version.number))
        _set_pointer(model_directory, version, before)
        _write_index(repository)
    except OSError as error:
        raise RepositoryError(
            f"{model_directory.path} could not be written: {error.strerror}; the pointer is as it was"
        ) from error
    return model_directory, version


def rollback(
    model_directory: ModelDirectory,
    requested: str | None = None,
    *,
    prove: Callable[[Bundle], object] = lambda _bundle: None,
) -> Version:
    """Point to the version that was current before, or to `requested`; RepositoryError when there is none before.

    The version is read and proven first, as in `publish`: BundleError when it is damaged.
    """
    pointer = model_directory.pointer()
    if requested is not None:
        version = model_directory.find(requested)
        before = (*pointer.before, pointer.number)
    elif pointer.before:
        version = model_directory.version(pointer.before[-1])
        before = pointer.before[:-1]
    else:
        raise RepositoryError(
            f"{model_directory.path}: no version was current before {pointer.number}; name one with --to"
        )
    if version == pointer.version:
        return version
    prove(model_directory.read(version))
    try:
        _write_pointer(model_directory, Pointer(version.number, version.digest, before[-MAX_BEFORE:]))
    except OSError as error:
        raise RepositoryError(
            f"{model_directory.path} could not be written: {error.strerror}; the pointer is as it was"
        ) from error
    return version


def check_contract(old: Bundle, new: Bundle) -> None:
    """Raise SchemaChangedError when `new` is incompatible with the clients of `old`."""
    changes = contract_changes(old, new)
    if changes:
        raise SchemaChangedError(
            f"{new.name} {new.short_version} has another schema for callers than {old.short_version}: "
            f"{'; '.join(changes[:_SHOWN])}; allow it with --allow-schema-change",
            changes=changes[:_LISTED],
        )


def _current(model_directory: ModelDirectory) -> tuple[Pointer | None, Bundle | None]:
    """Return the pointer, and the bundle whose contract a new version must keep; None for each that is missing or damaged.

    That bundle is the current version, or, if it is damaged, the newest version that can be read.
    """
    if not os.path.lexists(model_directory.path / POINTER):
        return None, None
    pointer = None
    with contextlib.suppress(BundleError):
        pointer = model_directory.pointer()
        return pointer, model_directory.read(pointer.version)
    for number in reversed(model_directory.numbers()):
        with contextlib.suppress(BundleError):
            return pointer, model_directory.read(model_directory.version(number))
    return pointer, None


def _undamaged_version(model_directory: ModelDirectory, bundle: Bundle) -> Version | None:
    """Return the newest undamaged version that equals this bundle; None if there is none."""
    for number in reversed(model_directory.numbers()):
        with contextlib.suppress(BundleError):
            version = model_directory.version(number)
            if version.digest == bundle.version:
                model_directory.read(version)
                return version
    return None


def _add(model_directory: ModelDirectory, bundle: Bundle) -> Version:
    work = model_directory.path / f"{_WORK}{os.getpid()}"
    try:
        work.mkdir()
        signature = [SIGNATURE] * (bundle.path / SIGNATURE).exists()
        for name in (*bundle.manifest.files, MANIFEST, *signature):
            _copy(bundle.path / name, work / name)
        sync_directory(work)
        # The source may have changed while it was copied.
        if read_bundle(work).version != bundle.version:
            raise BundleError(f"{bundle.path}: was altered while it was published; publish it again", file=MANIFEST)
        number = max(model_directory.numbers(), default=0) + 1
        while True:
            try:
                rename(work, model_directory.path / str(number), RENAME_NOREPLACE)
                break
            except FileExistsError:
                # Another process published meanwhile.
                number += 1
        sync_directory(model_directory.path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Version(number, bundle.version)


def _replace_signature(bundle: Bundle, directory: Path) -> None:
    """Copy the signature to a version that is there already; nothing else of it changes."""
    content = (bundle.path / SIGNATURE).read_bytes()
    target = directory / SIGNATURE
    if not target.exists() or not target.samefile(bundle.path / SIGNATURE):
        replace_file(target, content)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            writing.write(chunk)
        writing.flush()
        os.fchmod(writing.fileno(), _READ_ONLY)
        os.fsync(writing.fileno())


def _set_pointer(model_directory: ModelDirectory, version: Version, before: Pointer | None) -> None:
    if before is None:
        _write_pointer(model_directory, Pointer(version.number, version.digest))
    elif before.version == version:
        # Replace the pointer by an equal one, so that servers that refused the version try it again.
        _write_pointer(model_directory, before)
    else:
        _write_pointer(
            model_directory, Pointer(version.number, version.digest, (*before.before, before.number)[-MAX_BEFORE:])
        )


def _write_pointer(model_directory: ModelDirectory, pointer: Pointer) -> None:
    replace_file(model_directory.path / POINTER, msgspec.json.encode(pointer) + b"\n")


def _write_index(repository: Path) -> None:
    """List the models, for readers to whom a web server serves the repository."""
    index = Index([each.name for each in model_directories(repository)])
    raw = msgspec.json.encode(index) + b"\n"
    path = repository / INDEX
    if not path.exists() or path.read_bytes() != raw:
        replace_file(path, raw)


def _sweep(model_directory: ModelDirectory) -> None:
    """Remove the temporary files of publishers that were killed."""
    for path in model_directory.path.glob(f"{_WORK}*"):
        if is_abandoned(path.name.removeprefix(_WORK)):
            shutil.rmtree(path, ignore_errors=True)
    for path in model_directory.path.glob(f".{POINTER}.writing-*"):
        if is_abandoned(path.name.rpartition("-")[2]):
            path.unlink(missing_ok=True)
