"""Reads the prediction log of a server: records of requests and answers, as JSON lines or as Parquet parts.

1. A log is a directory of files `predictions-*`, or one such file. A file that a server still writes to may end within a line,
   which is left out.
2. A record of Parquet parts has the members of a JSON line, `request`, `answer` and `features` as JSON text. A file of which
   there is a part is read from the part.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core.errors import ConfigError, InvalidRequestError

_PATTERN = "predictions-*"
_ENDINGS = (".jsonl", ".parquet")
_BATCH_ROWS = 1024


class LoggedPrediction(msgspec.Struct, frozen=True):
    """One answered request: bodies as JSON text."""

    time: str
    request_id: str
    route: str
    request: msgspec.Raw
    answer: msgspec.Raw
    features: msgspec.Raw = msgspec.Raw(b"null")
    """Stored rows of a prediction by key: one by name, or a list for a batch, null for what was not by key."""
    ms: float = 0.0

    @property
    def has_features(self) -> bool:
        """Whether the log kept the stored rows that the answer was made from."""
        return bytes(self.features) != b"null"


class _Parameters(msgspec.Struct):
    bundle_version: str = ""


class _Origin(msgspec.Struct):
    """Name and version of the model in an answer of the native API or of the Open Inference Protocol."""

    model: str = ""
    version: str = ""
    model_name: str = ""
    parameters: _Parameters | None = None


_record = msgspec.json.Decoder(LoggedPrediction).decode
_origin = msgspec.json.Decoder(_Origin).decode


def origin_of(record: LoggedPrediction) -> tuple[str, str]:
    """Return the model that answered and the first digits of its version; empty where the answer does not say it."""
    try:
        found = _origin(record.answer)
    except msgspec.MsgspecError:
        return "", ""
    parameters = found.parameters or _Parameters()
    return found.model or found.model_name, parameters.bundle_version[:12] or found.version


def log_files(path: Path) -> list[Path]:
    """Return the files of a log in the order of their names; ConfigError if there are none."""
    if path.is_dir():
        # By name without the ending, the part last: a file that is being converted exists in both forms.
        named = {each.stem: each for each in sorted(path.glob(_PATTERN)) if each.suffix in _ENDINGS}
        found = list(named.values())
        if not found:
            raise ConfigError(f"{path}: contains no file {_PATTERN}.jsonl or {_PATTERN}.parquet of a prediction log")
        return found
    if not path.exists():
        raise ConfigError(f"{path} cannot be read: no such file or directory")
    return [path]


def is_log(path: Path) -> bool:
    """Whether a path has the name of a file of a log, or is a directory of such files."""
    if path.is_dir():
        return any(each.suffix in _ENDINGS for each in path.glob(_PATTERN))
    return path.match(_PATTERN) and path.suffix in _ENDINGS


def read_log(path: Path) -> Iterator[LoggedPrediction]:
    """Yield the records of a log; InvalidRequestError names the file and line of what is no record."""
    for file in log_files(path):
        yield from _of_parquet(file) if file.suffix == ".parquet" else _of_lines(file)


def _of_lines(file: Path) -> Iterator[LoggedPrediction]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    return  # the server is writing it, or ended within it
                yield _decoded(line, f"{file}: line {number}")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def _of_parquet(file: Path) -> Iterator[LoggedPrediction]:
    try:
        import pyarrow as pa  # noqa: PLC0415  a server may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"reading Parquet needs pyarrow: pip install 'mlrf[score]' ({error})") from error
    try:
        with pq.ParquetFile(file) as parts:
            number = 0
            for batch in parts.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield _of_row(row, f"{file}: row {number}")
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


def timestamp_text(time: Any) -> Any:
    """Return the time of a record as it is in JSON lines; anything but a datetime unchanged."""
    if not isinstance(time, datetime):
        return time
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of_row(row: dict[str, Any], where: str) -> LoggedPrediction:
    bodies = {
        name: msgspec.Raw(row[name].encode())
        for name in ("request", "answer", "features")
        if isinstance(row.get(name), str)
    }
    row["time"] = timestamp_text(row.get("time"))
    try:
        return msgspec.convert({**row, "features": msgspec.Raw(b"null"), **bodies}, LoggedPrediction)
    except msgspec.ValidationError as error:
        raise _no_record(where, error) from error


def _decoded(line: bytes, where: str) -> LoggedPrediction:
    try:
        return _record(line)
    except msgspec.MsgspecError as error:
        raise _no_record(where, error) from error


def _no_record(where: str, error: Exception) -> InvalidRequestError:
    return InvalidRequestError(f"{where} is not a record of a prediction log: {error}")
