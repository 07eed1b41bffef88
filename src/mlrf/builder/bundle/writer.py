"""Writes a bundle atomically: into a hidden directory next to the target, which is synced and then renamed.

Replacing a bundle swaps two directories in one system call (renameat2 with RENAME_EXCHANGE), so that there is a bundle at every
moment. On a file system without that, the old bundle is renamed first, and renamed back if the second rename fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mlrf.core.atomic_files import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    UNSUPPORTED,
    is_abandoned,
    rename,
    sync_directory,
    write_file,
)
from mlrf.core.bundle_files import digest_file
from mlrf.core.errors import BuildError, OutputExistsError
from mlrf.core.manifest import MANIFEST, FileEntry, Manifest

_REPLACED, _LARGE_FILES = "old", "rows"
"""Suffixes after the process id in the names of a replaced bundle and of a directory for large files."""


def check_output(out: Path, *, force: bool) -> None:
    """Raise OutputExistsError for a path that exists; with `force` only if it is not a bundle."""
    if not os.path.lexists(out):
        return
    if not force:
        raise OutputExistsError(
            f"{out} already exists; replace it with --force, or choose another directory", path=str(out)
        )
    if out.is_symlink() or not (out / MANIFEST).is_file():
        raise OutputExistsError(
            f"{out} exists and is not a bundle, so --force does not replace it; choose another directory", path=str(out)
        )


def write_bundle(out: Path, manifest: Manifest, files: Mapping[str, bytes | Path], *, force: bool) -> Path:
    """Write a bundle and return its path.

    `manifest.files` is filled in here. A file given by its path is moved into the bundle.
    OutputExistsError when the path exists; BuildError when the disk is full or not writable. Whatever happens, including an
    interrupt, `out` is either as it was before or the complete new bundle; nothing else is left.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  Path.resolve would follow a link at `out` itself
    check_output(out, force=force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        work = out.parent / f".{out.name}.building-{os.getpid()}"
        try:
            _fill(work, manifest, files)
            _put(work, out, force=force)
        finally:
            # After an exchange, the hidden directory is the old bundle.
            shutil.rmtree(work, ignore_errors=True)
        sync_directory(out.parent)
    except OSError as error:
        raise BuildError(f"{out} could not be written: {error.strerror}; nothing was left behind") from error
    return out


@contextmanager
def side_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder on the disk of the future bundle, for files that are too large for memory.

    BuildError if it cannot be created.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  as above
    folder = out.parent / f".{out.name}.building-{os.getpid()}-{_LARGE_FILES}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        raise BuildError(f"{out} could not be written: {error.strerror}; nothing was left behind") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(work: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> None:
    work.mkdir()
    entries = {}
    for name, content in sorted(files.items()):
        if isinstance(content, Path):
            content.rename(work / name)
            with (work / name).open("rb") as file:
                os.fsync(file.fileno())
            entries[name] = FileEntry(digest_file(work / name), (work / name).stat().st_size)
            continue
        write_file(work / name, content)
        entries[name] = FileEntry(hashlib.sha256(content).hexdigest(), len(content))
    whole = msgspec.structs.replace(manifest, files=entries)
    write_file(work / MANIFEST, msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    sync_directory(work)


def _put(work: Path, out: Path, *, force: bool) -> None:
    try:
        rename(work, out, RENAME_NOREPLACE)
    except FileExistsError:
        # Built meanwhile, or there all along.
        check_output(out, force=force)
        _exchange(work, out)


def _exchange(work: Path, out: Path) -> None:
    try:
        rename(work, out, RENAME_EXCHANGE)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        replaced = work.with_name(f"{work.name}-{_REPLACED}")
        out.rename(replaced)
        try:
            work.rename(out)
        except BaseException:
            replaced.rename(out)
            raise
        shutil.rmtree(replaced, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove the temporary files of builds that were killed, but not those of running builds."""
    prefix = f".{out.name}.building-"
    for path in out.parent.glob(f".{_literal(out.name)}.building-*"):
        owner, _, suffix = path.name.removeprefix(prefix).partition("-")
        is_in_use = suffix == _LARGE_FILES and owner == str(os.getpid())
        if is_in_use or not is_abandoned(owner):
            continue
        if suffix == _REPLACED and not os.path.lexists(out):
            # Killed between the two renames of a replacement: the old bundle goes back.
            path.rename(out)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
