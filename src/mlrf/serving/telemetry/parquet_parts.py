"""Converts complete files of the prediction log from JSON lines to Parquet, as a program: its argument is the log's directory.

1. Workers write JSON lines, so a kill loses no record. A file is complete when no worker has it locked.
2. A part is written under a hidden name, synced and renamed; then the JSON lines are deleted. Readers prefer the part where
   both exist.
3. It runs in a process of its own with low priority: pyarrow is in no worker, and takes no time from the event loop.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core.atomic_files import is_abandoned, sync_directory
from mlrf.core.errors import MlrfError
from mlrf.model.logged_predictions import LoggedPrediction, origin_of, read_log

_PATTERN = "predictions-*.jsonl"
_WRITING = ".writing-"
_GROUP_BYTES = 8 << 20
"""Text of the records of a row group, which bounds the memory that is taken."""
_NICE = 10


def complete_files(folder: Path) -> list[Path]:
    """Return the files of JSON lines that no worker writes to, oldest first."""
    found = []
    for path in sorted(folder.glob(_PATTERN)):
        with locked(path) as is_complete:
            if is_complete:
                found.append(path)
    return found


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Lock a file for the block; yield False if it is gone, a worker's, or empty."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        # A worker locks its file before the first line, so an empty one may be about to be locked.
        if os.fstat(descriptor).st_size:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield bool(os.fstat(descriptor).st_size and os.fstat(descriptor).st_nlink)
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def convert(path: Path) -> None:
    """Replace a file of JSON lines by a Parquet part; OSError or MlrfError leave the file as it is."""
    part = path.with_suffix(".parquet")
    work = part.with_name(f".{part.name}{_WRITING}{os.getpid()}")
    work.unlink(missing_ok=True)
    try:
        descriptor = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _write(read_log(path), file)
            file.flush()
            os.fsync(descriptor)
        work.rename(part)
        sync_directory(path.parent)
        path.unlink()
    finally:
        work.unlink(missing_ok=True)


def _write(records: Iterator[LoggedPrediction], file: Any) -> None:
    import pyarrow as pa  # noqa: PLC0415  an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    text = pa.string()
    schema = pa.schema(
        {
            "time": pa.timestamp("ms", "UTC"), "request_id": text, "route": text, "ms": pa.float64(), "model": text,
            "version": text, "request": text, "answer": text, "features": text,
        }
    )  # fmt: skip
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for record in records:
            rows.append(_row(record))
            size += len(record.request) + len(record.answer) + len(record.features)
            if size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(record: LoggedPrediction) -> dict[str, Any]:
    model, version = origin_of(record)
    return {
        **msgspec.structs.asdict(record),
        "time": datetime.fromisoformat(record.time),
        "model": model or None,
        "version": version or None,
        "request": bytes(record.request).decode(),
        "answer": bytes(record.answer).decode(),
        "features": bytes(record.features).decode() if record.has_features else None,
    }


def main(folder: Path) -> int:
    """Convert every complete file of a folder; print what prevents it, and return 1, if a file cannot be converted."""
    os.nice(_NICE)
    status = 0
    for left in folder.glob(f".predictions-*{_WRITING}*"):
        if is_abandoned(left.name.rpartition("-")[2]):
            left.unlink(missing_ok=True)
    for path in complete_files(folder):
        with locked(path) as is_complete:
            if not is_complete:
                continue
            try:
                convert(path)
            except (MlrfError, OSError, ValueError) as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
