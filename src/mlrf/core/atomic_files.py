"""Atomic writes: files and directories that readers see complete or not at all, also after a power cut.

New content is written under a hidden name in the target's directory, synced, and renamed in one system call. A process that was
killed leaves only its hidden name, which contains its process id, so that the next writer can remove it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from pathlib import Path

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
"""Error numbers of file systems that do not support the requested kind of rename."""
_AT_FDCWD = -100
_PID_DIGITS = 10


def write_file(path: Path, content: bytes) -> None:
    """Write a new file and sync it to disk; FileExistsError when it exists."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Create or replace a file atomically; OSError leaves the old one."""
    work = path.with_name(f".{path.name}.writing-{os.getpid()}")
    work.unlink(missing_ok=True)
    try:
        write_file(work, content)
        work.rename(path)
    finally:
        work.unlink(missing_ok=True)
    sync_directory(path.parent)


def rename(source: Path, target: Path, flag: int) -> None:
    """Rename in one step with RENAME_NOREPLACE or RENAME_EXCHANGE; OSError with an `UNSUPPORTED` number if that is impossible.

    On a file system without RENAME_NOREPLACE, the existence of the target is checked before renaming.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
            return
        number = ctypes.get_errno()
        if number not in UNSUPPORTED or flag == RENAME_EXCHANGE:
            raise OSError(number, os.strerror(number), str(target))
    elif flag == RENAME_EXCHANGE:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def sync_directory(path: Path) -> None:
    """Sync a directory to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems cannot sync a directory
            os.fsync(handle)
    finally:
        os.close(handle)


def is_abandoned(owner: str) -> bool:
    """Return whether a temporary name ends in the id of a process that no longer runs."""
    return owner.isdecimal() and len(owner) <= _PID_DIGITS and not _is_running(int(owner))


def _is_running(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
