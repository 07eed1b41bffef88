"""The prediction log: requests and answers of predictions as JSON lines, in files of bounded number and size.

Each worker writes one file at a time and locks it; opening the next one removes the oldest unlocked file.
Lines that cannot be written are dropped and counted: the file is truncated to its last complete line.
Complete files are replaced by Parquet parts if the log has a converter.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from mlrf.serving.telemetry.log_thread import LogThread
from mlrf.serving.telemetry.logs import Log, stamp

if TYPE_CHECKING:
    from mlrf.serving.telemetry.parquet_converter import ParquetConverter

_MAX_WAITING = 4096
_MAX_WAITING_BYTES = 32 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31
_MAX_PLAIN_BYTES = 64 << 20
_PAUSE_S = 5.0
"""Seconds to wait after a failed write before the next attempt."""
_NAME = "predictions-{time}-{slot}-{number}.jsonl"
_ENDINGS = (".jsonl", ".parquet")
_PATTERN = "predictions-*"


@runtime_checkable
class JsonTranscriber(Protocol):
    """A handler whose bodies are not plain JSON (binary tensors, protobuf)."""

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """Return request and response as JSON; safe in any thread."""
        ...


class PredictionRecord(msgspec.Struct, frozen=True):
    """One answered prediction; `body` as received, `answer` as sent, both JSON (the body may be gzip)."""

    time_s: float
    request_id: bytes
    route: str
    elapsed_s: float
    body: bytes
    answer: bytes
    transcriber: JsonTranscriber | None = None
    """Converts bodies that are not JSON; None for JSON."""
    features: Callable[[], bytes] | None = None
    """Returns the stored rows of a prediction by key as JSON: one by name, or a list for a batch (null: not by key)."""


class PredictionLog:
    """Writes predictions to files in `folder`: at most `max_files` of about `max_file_bytes`, for all workers together."""

    def __init__(
        self,
        folder: Path,
        slot: int,
        max_file_bytes: int,
        max_files: int,
        log: Log,
        converter: ParquetConverter | None = None,
    ) -> None:
        self._folder = folder
        self._converter = converter
        self._slot = slot
        self._max_file_bytes = max_file_bytes
        self._max_files = max_files
        self._log = log
        self._file: int | None = None
        self._n_opened = 0
        self._resume_s = 0.0
        self._failed = False
        self._thread = LogThread[PredictionRecord]("mlrf-prediction-log", self._write, _MAX_WAITING, _MAX_WAITING_BYTES)
        self.flush = self._thread.flush
        self.take_counts = self._thread.take_counts

    def put(self, entry: PredictionRecord) -> None:
        """Queue a prediction; its line is written later."""
        self._thread.put(entry, len(entry.body) + len(entry.answer))

    def close(self, limit_s: float) -> None:
        """Write the queued records, and convert the last file, within the time limit."""
        end_s = time.monotonic() + limit_s
        if not self._thread.close(limit_s):
            return
        self._leave()
        if self._converter is not None:
            self._converter.finish(max(0.0, end_s - time.monotonic()))

    def _write(self, batch: Sequence[PredictionRecord]) -> int:
        lost = 0
        for each in batch:
            if time.monotonic() < self._resume_s:
                lost += 1
                continue
            try:
                self._append(_line(each))
            except Exception as error:  # noqa: BLE001  no request may prevent the lines of the next ones
                lost += 1
                self._pause(error)
            else:
                if self._failed:
                    self._failed = False
                    self._log.info("prediction log resumed", folder=str(self._folder))
        return lost

    def _append(self, line: bytes) -> None:
        if self._file is not None:
            found = os.fstat(self._file)
            # Lines written to a file that was removed would be lost.
            if found.st_size + len(line) > self._max_file_bytes or not found.st_nlink:
                self._leave()
        if self._file is None:
            self._file = self._open()
        size = os.fstat(self._file).st_size
        written = 0
        try:
            written = os.write(self._file, line)
        finally:
            if written != len(line):
                os.ftruncate(self._file, size)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> int:
        self._remove_oldest()
        self._n_opened += 1
        named = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = self._folder / _NAME.format(time=named, slot=f"{self._slot}-{os.getpid()}", number=self._n_opened)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._converter is not None:
            self._converter.start()  # for the file before this one, and those of workers that were killed
        return file

    def _remove_oldest(self) -> None:
        """Remove the oldest files that no worker has open, until one more is allowed."""
        # By name without the ending: a file that is being converted exists in both forms.
        files = {each.stem: each for each in sorted(self._folder.glob(_PATTERN)) if each.suffix in _ENDINGS}
        surplus = len(files) - self._max_files + 1
        for path in files.values():
            if surplus <= 0:
                return
            with suppress(OSError):
                descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    surplus -= 1
                finally:
                    os.close(descriptor)

    def _leave(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _pause(self, error: Exception) -> None:
        """Log once that writing failed, and try again later with another file."""
        if isinstance(error, OSError):
            self._resume_s = time.monotonic() + _PAUSE_S
            with suppress(OSError):
                self._leave()
        if not self._failed:
            self._failed = True
            self._log.warning("prediction log cannot be written", folder=str(self._folder), reason=str(error))


def _line(entry: PredictionRecord) -> bytes:
    """Return a prediction as one line of JSON."""
    body, answer = entry.body, entry.answer
    if entry.transcriber is not None:
        body, answer = entry.transcriber.as_json(body, answer)
    elif body.startswith(_GZIP_MAGIC):
        inflating = zlib.decompressobj(_GZIP_WINDOW)
        body = inflating.decompress(body, _MAX_PLAIN_BYTES)
        if inflating.unconsumed_tail:
            raise ValueError(f"a body is longer than {_MAX_PLAIN_BYTES} bytes once decompressed")
    record: dict[str, object] = {
        "time": stamp(entry.time_s),
        "request_id": entry.request_id.decode("ascii"),
        "route": entry.route,
        "ms": round(entry.elapsed_s * 1e3, 3),
        "request": _on_one_line(body),
        "answer": _on_one_line(answer),
    }
    if entry.features is not None:
        record["features"] = msgspec.Raw(entry.features())
    return msgspec.json.encode(record) + b"\n"


def _on_one_line(document: bytes) -> msgspec.Raw:
    if not document.isascii():
        # An ignored member may contain anything, UTF-8 or not; the log must be valid UTF-8.
        document = document.decode(errors="replace").encode()
    # JSON escapes line ends in strings, so a line end is white space between tokens.
    return msgspec.Raw(msgspec.json.format(document, indent=-1) if b"\n" in document or b"\r" in document else document)
