"""Writes estimators as skops files; imports skops when it is called, because that takes half a second, which not every process needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def dumps(estimator: Any) -> bytes:
    """The bytes of the file of an estimator."""
    import skops.io  # noqa: PLC0415  as said above

    return skops.io.dumps(estimator)


def dump(estimator: Any, path: Path) -> None:
    """Write the file of an estimator."""
    path.write_bytes(dumps(estimator))
