"""Detects how the cells of a CSV file are separated: by the separator with which its header names the most features."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import NamedTuple

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidRequestError


class Dialect(NamedTuple):
    """The separator of cells, and whether blanks after it are ignored."""

    delimiter: str = ","
    skips_blanks: bool = False


_DIALECTS = (Dialect(), Dialect(",", True), Dialect(";"), Dialect(";", True), Dialect("\t"), Dialect("|"))
"""Dialects in order of preference."""
_SHOWN = 60


def find_dialect(text: str, features: Sequence[str]) -> Dialect:
    """Return the dialect in which the first line of `text` names the most features; commas in case of a tie."""
    header = text.partition("\n")[0]
    return max(_DIALECTS, key=lambda dialect: _n_named(header, dialect, features))


def one_column(header: str) -> str:
    """Return what is wrong with a header that is one column and no feature, as the end of a sentence."""
    shown = header if len(header) <= _SHOWN else f"{header[:_SHOWN]}…"
    return f"its first line is one column, {shown!r}; separate the columns by commas, semicolons, tabs or |"


def _n_named(header: str, dialect: Dialect, features: Sequence[str]) -> int:
    reader = csv.reader([header], delimiter=dialect.delimiter, skipinitialspace=dialect.skips_blanks)
    try:
        return len(find_columns(features, next(reader, [])))
    except (csv.Error, InvalidRequestError):
        # The reader of the file reports what is wrong with the header.
        return 0
