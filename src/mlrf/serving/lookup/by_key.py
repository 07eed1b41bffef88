"""What a request says about a row that is looked up by its key, whichever protocol the request came by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

OnStale = Literal["refuse", "flag"]
"""What happens to a row that is older than allowed."""


class ByKey(msgspec.Struct, frozen=True, gc=False):
    """A row to look up: `key` is the canonical encoding of its key, the rest is what the caller said about the row."""

    key: bytes
    overrides: Mapping[int, float] | None = None
    """Values that replace the stored ones, by the feature's index in the schema."""
    max_age_s: float | None = None
    on_stale: OnStale | None = None
