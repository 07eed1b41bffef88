"""`RefusedVersion`: a version that the start of a server refused."""

from __future__ import annotations

import msgspec

from mlrf.core.repository import Version


class RefusedVersion(msgspec.Struct, frozen=True):
    """The version that a model's pointer names, why the start refused it, and the version that is served instead, if any."""

    version: Version
    reason: str
    serving: Version | None = None
