"""Detection of addresses (`s3://…`) given where a local path is expected."""

from __future__ import annotations

import os

from mlrf.core.lazy_pattern import lazy_pattern

_SCHEME = lazy_pattern(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def scheme_of(path: str | os.PathLike[str]) -> str | None:
    """Return the scheme of an address (`s3` of `s3://bucket/model`, or of `s3:/bucket/model` as a path); None for a path."""
    found = _SCHEME.match(os.fspath(path))
    return None if found is None else found[1]
