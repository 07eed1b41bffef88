"""Writes the files of `mlrf predict --out`, atomically and in the format of the file extension."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core.atomic_files import replace_file
from mlrf.core.errors import BuildError, ConfigError
from mlrf.core.feature import Category

Answer = float | list[float]
Labels = Sequence[Category | None]
_TWO = 2
"""Number of classes for which a prediction is one probability."""


def check_ending(path: Path) -> None:
    """Raise ConfigError for a file extension without a format."""
    if path.suffix.lower() not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise ConfigError(f"--out: {path}: the file must end in {known}, not {path.suffix or 'without an extension'}")


def write_answers(path: Path, answers: Sequence[Answer], labels: Labels, classes: Sequence[Category] | None) -> None:
    """Write a file of predictions, replacing an existing one; BuildError when it cannot be written."""
    write_lines(path, [_WRITERS[path.suffix.lower()](answers, labels, classes)])


def write_lines(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file, replacing an existing one; BuildError when it cannot be written."""
    try:
        replace_file(path, b"".join(parts))
    except OSError as error:
        raise BuildError(f"{path} cannot be written: {error.strerror}") from error


def as_lines(answers: Sequence[Answer], labels: Labels, _classes: Sequence[Category] | None = None) -> bytes:
    """Return a JSON line for each row: the prediction, and the label if the model is a classifier."""
    lines = []
    for answer, label in zip(answers, labels, strict=True):
        named: dict[str, Any] = {"prediction": answer} if label is None else {"prediction": answer, "label": label}
        lines.append(msgspec.json.encode(named) + b"\n")
    return b"".join(lines)


def _columns(answers: Sequence[Answer], labels: Labels, classes: Sequence[Category] | None) -> dict[str, list[Any]]:
    """Return the predictions by column: `prediction`, or one for each class or output, and `label` for a classifier."""
    names: Sequence[object] = classes if classes is not None and len(classes) > _TWO else ()
    if answers and isinstance(answers[0], list):
        names = classes or range(len(answers[0]))
    columns: dict[str, list[Any]] = {"prediction": [*answers]}
    if names:
        rows = [answer if isinstance(answer, list) else [answer] for answer in answers]
        columns = {f"prediction_{name}": [row[index] for row in rows] for index, name in enumerate(names)}
    return columns if classes is None else {**columns, "label": list(labels)}


def _csv(answers: Sequence[Answer], labels: Labels, classes: Sequence[Category] | None) -> bytes:
    columns = _columns(answers, labels, classes)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _parquet(answers: Sequence[Answer], labels: Labels, classes: Sequence[Category] | None) -> bytes:
    try:
        import pyarrow as pa  # noqa: PLC0415  a server may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"writing Parquet needs pyarrow: pip install 'mlrf[build]' ({error})") from error
    columns = _columns(answers, labels, classes)
    kinds = {type(each) for each in classes or ()}
    if len(kinds) > 1:
        columns["label"] = [str(each) for each in columns["label"]]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


_WRITERS: dict[str, Callable[[Sequence[Answer], Labels, Sequence[Category] | None], bytes]] = {
    ".jsonl": as_lines,
    ".json": as_lines,
    ".ndjson": as_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
