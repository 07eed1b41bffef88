"""Finds the files to score: files, directories, globs, and the same in stores (`s3://`, `gs://`, `abfs://`).

1. The files of each argument are in the order of their names; the arguments are in the order in which they are given.
2. A directory is searched for all file extensions that can be read; names that begin with `.` or `_` are passed over.
3. Folders named NAME=VALUE directly above a file are its hive partition.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlrf.core.errors import ConfigError
from mlrf.core.local_path import scheme_of
from mlrf.core.value_text import clip
from mlrf.scoring.remote_files import address_of, list_files, reason_of
from mlrf.scoring.table_formats import check_plain_directory

_TABLE_LIBRARIES = ("pandas", "polars", "pyarrow", "numpy")
KINDS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".jsonl.gz": "json",
    ".ndjson.gz": "json",
}
"""The format of a file by its extension."""
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
PartitionValues = dict[str, str]


@dataclass(frozen=True, slots=True)
class InputPath:
    """A file to score: an absolute path, or an address (`s3://…`)."""

    text: str

    @property
    def is_remote(self) -> bool:
        """Whether it is an address."""
        return scheme_of(self.text) is not None

    @property
    def extension(self) -> str:
        """The extension, with that before `.gz`, in lower case."""
        suffixes = [each.lower() for each in Path(self.text).suffixes]
        return "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])

    @property
    def partition_folder(self) -> str:
        """The folders NAME=VALUE directly above the file, as a relative path; empty if there are none."""
        parts = self.text.split("/")[:-1]
        first = len(parts)
        while first and "=" in parts[first - 1].strip("="):
            first -= 1
        return "/".join(parts[first:])

    @property
    def partition(self) -> PartitionValues:
        """The values of the partition's columns as texts, empty where they are missing."""
        pairs = (each.partition("=") for each in self.partition_folder.split("/") if each)
        values = {unquote(name): unquote(value) for name, _, value in pairs}
        return {name: "" if value == _NULL_PARTITION else value for name, value in values.items()}


def find_inputs(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], output: Path | str | None = None
) -> list[InputPath]:
    """Return the files of paths, directories, globs and addresses; ConfigError if one of them has none.

    Files in `output`, a path or an address, that a directory or glob above it finds are left out: a job that continues would
    read its own parts.
    """
    found: list[InputPath] = []
    for argument in _arguments(inputs):
        try:
            files = (_local_files if scheme_of(argument) is None else _remote_files)(argument, output)
        except (OSError, ValueError) as error:  # a name that no file can have
            reason = (isinstance(error, OSError) and error.strerror) or reason_of(error)
            raise ConfigError(f"{clip(argument)!r} cannot be read: {reason}") from error
        if not files:
            raise ConfigError(f"{argument}: names no file that can be scored ({', '.join(KINDS)})")
        found += files
    texts = [each.text for each in found]
    if len(texts) != len(set(texts)):
        twice = next(text for index, text in enumerate(texts) if text in texts[:index])
        raise ConfigError(f"{twice} is named twice; name each input once")
    return found


def _arguments(inputs: Any) -> list[str]:
    if isinstance(inputs, str | os.PathLike):
        return _arguments([inputs])
    if not isinstance(inputs, Iterable) or type(inputs).__module__.partition(".")[0] in _TABLE_LIBRARIES:
        raise _no_path(inputs)
    arguments = []
    for each in inputs:
        if not isinstance(each, str | os.PathLike) or not isinstance(path := os.fspath(each), str):
            raise _no_path(each)
        arguments.append(path)
    return arguments


def _no_path(given: Any) -> ConfigError:
    return ConfigError(
        f"the inputs are paths of files, not {type(given).__name__}; to score a table in memory, call "
        "mlrf.scoring.Scorer(bundle)(table)"
    )


def _local_files(argument: str, output: Path | str | None) -> list[InputPath]:
    path = Path(argument)
    path.resolve()
    if path.is_dir():
        inside = {str(each.relative_to(path)): each for each in path.rglob("*") if each.is_file()}
        check_plain_directory(argument, inside)
        names = sorted(each for relative, each in inside.items() if _is_visible(relative))
    elif path.exists() or not glob.has_magic(argument):
        names = [path]
    else:
        names = [Path(each) for each in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207  also absolute ones
        names = [each for each in names if each.is_file() and not each.name.startswith(("_", "."))]
    found = [name.resolve() for name in _without_converted(names)]
    if isinstance(output, Path) and not path.is_file() and path.resolve() != output:
        found = [name for name in found if not name.is_relative_to(output)]
    return [InputPath(str(name)) for name in found]


def _without_converted(names: Sequence[Path]) -> list[Path]:
    """Return paths without the JSON lines of a prediction log that also exist as a Parquet file: a server converts them."""
    parts = {each.with_suffix("") for each in names if each.suffix == ".parquet"}
    return [
        each
        for each in names
        if not (each.name.startswith("predictions-") and each.suffix == ".jsonl" and each.with_suffix("") in parts)
    ]


def _remote_files(argument: str, output: Path | str | None) -> list[InputPath]:
    """Return the objects of an address, without those of the output if the address is above it."""
    address = address_of(argument)
    found = _objects(argument, address)
    if not isinstance(output, str) or address == output or [InputPath(address)] == found:
        return found
    return [each for each in found if not each.text.startswith(f"{output}/")]


def _objects(argument: str, address: str) -> list[InputPath]:
    """Return the objects of an address: one, those below a folder, or those of a glob."""
    if not glob.has_magic(address):
        below = list_files(address)
        if below is None:
            return [InputPath(address)]
        check_plain_directory(argument, (each.removeprefix(address) for each in below))
        return [InputPath(each) for each in below if _is_visible(each.removeprefix(address))]
    folder = re.split(r"[*?\[]", address, maxsplit=1)[0].rpartition("/")[0]
    pattern = re.compile(_pattern(address))
    listed = list_files(folder) or []
    if address in listed:  # a key that contains brackets
        return [InputPath(address)]
    found = [each for each in listed if pattern.fullmatch(each)]
    return [InputPath(each) for each in found if not each.rpartition("/")[2].startswith(("_", "."))]


def _is_visible(relative: str) -> bool:
    """Whether a directory's file is one to score: neither hidden nor of an unknown extension."""
    parts = [part for part in relative.split("/") if part]
    return not any(part.startswith((".", "_")) for part in parts) and InputPath(relative).extension in KINDS


def _pattern(text: str) -> str:
    """Return a glob as a regular expression: `**` also matches across folders."""
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", text)
    # A part between parts that are special is literal; those in between are at odd positions.
    return "".join(
        (special.get(part) or part.replace("[!", "[^", 1)) if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    )
