"""Copies the deployment files with the user's names in place of the examples.

The files of this package are valid YAML, units and TOML as they are, with names that begin with `example-`. In a copy, all of
these names are replaced by the user's values. A name without a value is a defect of this package, which its tests find.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mlrf.core.errors import BuildError, OutputExistsError

ROOT = Path(__file__).parent
MARK = "example-"
"""Prefix of the names that a user's values replace."""


def write_files(kind: str, out: Path, values: Mapping[str, str]) -> list[Path]:
    """Write the files of a folder of this package into `out`, and return their paths within it.

    `values`: by the part of a name after `example-`. OutputExistsError if `out` exists and is not an empty directory,
    BuildError if it cannot be written.
    """
    try:
        return _write_files(kind, out, values)
    except OSError as error:
        raise BuildError(f"{out} cannot be written: {error.strerror}; name another directory") from error


def _write_files(kind: str, out: Path, values: Mapping[str, str]) -> list[Path]:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            f"{out} exists and is not an empty directory; name another one with --out", path=str(out)
        )
    source = ROOT / kind
    written = []
    for file in sorted(each for each in source.rglob("*") if each.is_file()):
        within = Path(filled(str(file.relative_to(source)), values))
        (out / within).parent.mkdir(parents=True, exist_ok=True)
        (out / within).write_text(filled(file.read_text("utf-8"), values), "utf-8")
        written.append(within)
    return written


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with each name that begins with `example-` replaced by its value; KeyError for one without a value."""
    longest_first = "|".join(map(re.escape, sorted(values, key=len, reverse=True)))
    for left in re.findall(rf"{MARK}(?!(?:{longest_first})(?![a-z]))\S*", text):
        raise KeyError(left)
    return re.sub(rf"{MARK}({longest_first})(?![a-z])", lambda found: values[found[1]], text)
