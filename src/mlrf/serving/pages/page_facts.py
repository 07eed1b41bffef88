"""The facts that pages show; the same for each request to a generation of models."""

from __future__ import annotations

import msgspec

from mlrf.core.bundle import Bundle


class PageFacts(msgspec.Struct, frozen=True):
    """What a server serves, and how."""

    bundles: list[Bundle]
    default: str
    """The name of the default model."""
    names: tuple[str, ...]
    """The names of all models, also of those that are not served now."""
    version: str
    max_batch: int
    predict_route: str | None
    """The path that the operator gave to a platform's predictions."""
    has_keys: bool
