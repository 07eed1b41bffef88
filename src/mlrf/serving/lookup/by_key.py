"""`ByKey`: a request for a stored row, independent of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

OnStale = Literal["refuse", "flag"]
"""How to treat a row older than allowed."""


class ByKey(msgspec.Struct, frozen=True, gc=False):
    """A row to look up: `key` is the canonical encoding of its key, the other fields are the caller's options."""

    key: bytes
    overrides: Mapping[int, float] | None = None
    """Values that replace the stored ones, by the feature's index in the schema."""
    max_age_s: float | None = None
    on_stale: OnStale | None = None
