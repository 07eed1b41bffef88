"""Temporary folders of a build, which a later build removes if the process that made them was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from mlrf.core.atomic_files import is_abandoned

_PREFIX = "mlrf-"
_LOCK = Lock()
_OPEN: set[str] = set()
"""Names of this process's own folders: another folder with its id is of a process that had the id before."""


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Yield a new folder under TMPDIR, removed afterwards; its name holds `purpose` and the id of this process.

    Folders that killed processes of this user left behind are removed first. OSError if none can be created.
    """
    prefix = f"{_PREFIX}{purpose}-"
    with _LOCK:
        _remove_abandoned(Path(tempfile.gettempdir()), prefix)
        folder = tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", ignore_cleanup_errors=True)
        _OPEN.add(Path(folder.name).name)
    try:
        with folder as name:
            yield Path(name)
    finally:
        _OPEN.discard(Path(folder.name).name)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*-*"):
        if path.name in _OPEN:
            continue
        owner = path.name.removeprefix(prefix).partition("-")[0]
        try:
            is_own = path.lstat().st_uid == os.getuid()
        except OSError:
            # Another build has removed it in the meantime.
            continue
        if is_own and is_abandoned(owner):
            shutil.rmtree(path, ignore_errors=True)
