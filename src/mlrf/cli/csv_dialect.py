"""How the cells of a CSV file are separated: the way in which its header names the most features."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import NamedTuple

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidRequestError


class Dialect(NamedTuple):
    """What separates cells, and whether blanks after it belong to none."""

    delimiter: str = ","
    skips_blanks: bool = False


_DIALECTS = (Dialect(), Dialect(",", True), Dialect(";"), Dialect(";", True), Dialect("\t"), Dialect("|"))
"""In the order in which they are preferred."""


def find_dialect(text: str, features: Sequence[str]) -> Dialect:
    """Return the dialect in which the first line of `text` names the most features; commas when none names more."""
    header = text.partition("\n")[0]
    return max(_DIALECTS, key=lambda dialect: _n_named(header, dialect, features))


def _n_named(header: str, dialect: Dialect, features: Sequence[str]) -> int:
    reader = csv.reader([header], delimiter=dialect.delimiter, skipinitialspace=dialect.skips_blanks)
    try:
        return len(find_columns(features, next(reader, [])))
    except (csv.Error, InvalidRequestError):
        # The reader of the file reports what is wrong with the header.
        return 0
