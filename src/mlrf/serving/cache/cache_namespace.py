"""The identity of the answers of one version of a model with one set of options."""

from __future__ import annotations

import msgspec


class CacheNamespace(msgspec.Struct, frozen=True):
    """The bundle's version (64 hex digits), and a secret of 1 to 64 bytes derived from everything that answers depend on."""

    version: str
    secret: bytes
