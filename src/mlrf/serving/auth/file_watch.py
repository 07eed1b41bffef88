"""Detects changes of key and certificate files."""

from __future__ import annotations

import errno
from pathlib import Path


def signature(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced, or a link to it set anew; one zero when it is gone."""
    try:
        found = path.stat()
    except OSError:
        return (0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_passing(cause: BaseException | None) -> bool:
    """Whether a file could not be read for want of descriptors: it is tried again, or a revoked key would hold on."""
    return isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE)
