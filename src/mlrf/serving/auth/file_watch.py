"""Detects changes of key and certificate files."""

from __future__ import annotations

import errno
from pathlib import Path


def fingerprint(path: Path) -> tuple[int, ...]:
    """Return values that change when a file is written or replaced, or a link to it changes; `(0,)` if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return (0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_transient(cause: BaseException | None) -> bool:
    """Whether reading failed only for lack of file descriptors and must be retried, or a revoked key would stay valid."""
    return isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE)
