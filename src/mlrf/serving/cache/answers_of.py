"""What tells the answers of one version of a model, under one set of options, from all others."""

from __future__ import annotations

from typing import NamedTuple


class AnswersOf(NamedTuple):
    """Whose answers: the bundle's version (64 hex digits), and a secret of 1 to 64 bytes of all that answers depend on."""

    version: str
    secret: bytes
