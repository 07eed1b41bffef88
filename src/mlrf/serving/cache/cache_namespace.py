"""The identity of the answers of one version of a model with one set of options."""

from __future__ import annotations

from typing import NamedTuple


class CacheNamespace(NamedTuple):
    """The bundle's version (64 hex digits), and a secret of 1 to 64 bytes derived from everything that answers depend on."""

    version: str
    secret: bytes
