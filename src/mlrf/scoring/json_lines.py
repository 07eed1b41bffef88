"""JSON lines of answers: a line for each row, with the numbers of several outputs as one array."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class JsonLinesWriter:
    """Writes tables as JSON lines; what is not finite is null, as JSON has no number for it.

    `members` are the columns of each member that several columns make up: `prediction` of `prediction_a` and `prediction_b`.
    """

    def __init__(self, sink: Any, schema: Any, members: Mapping[str, list[str]]) -> None:
        self._is_own = isinstance(sink, Path)
        self._file = sink.open("wb") if isinstance(sink, Path) else sink
        member_of = {column: member for member, columns in members.items() for column in columns}
        self._columns: dict[str, list[str]] = {}
        for name in schema.names:
            self._columns.setdefault(member_of.get(name, name), []).append(name)
        self._are_lists = {member for member, columns in members.items() if columns != [member]}

    def write(self, table: Any) -> None:
        """Write a line for each row."""
        values = [
            zip(*(table[name].to_pylist() for name in names), strict=True)
            if member in self._are_lists
            else table[names[0]].to_pylist()
            for member, names in self._columns.items()
        ]
        encode = msgspec.json.encode
        lines = [encode(dict(zip(self._columns, row, strict=True))) for row in zip(*values, strict=True)]
        self._file.write(b"\n".join([*lines, b""]) if lines else b"")

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._is_own:
            self._file.close()
        else:
            self._file.flush()
