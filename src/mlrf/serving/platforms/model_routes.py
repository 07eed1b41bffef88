"""The handlers of one model on other platforms' routes; the first request to one imports what reads its body."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mlrf.core.schema import Schema
from mlrf.serving.platforms.settings import Platform
from mlrf.serving.runtime.results import Handler, OnFirstUse

if TYPE_CHECKING:
    from mlrf.serving.platforms.handlers import PlatformHandlers


class ModelRoutes:
    """Creates `PlatformHandlers` on first use."""

    def __init__(
        self, schema: Schema, max_rows: int, batch: Handler, platform: Platform | None, *, predicts_labels: bool
    ) -> None:
        """Take the arguments of `PlatformHandlers`."""

        def make() -> PlatformHandlers:
            from mlrf.serving.platforms.handlers import PlatformHandlers  # noqa: PLC0415  most servers never need them

            return PlatformHandlers(schema, max_rows, batch, platform, predicts_labels=predicts_labels)

        self._make = make

    def handler(self, choose: Callable[[PlatformHandlers], Handler]) -> Handler:
        """Return the handler that `choose` takes from the model's."""
        return OnFirstUse(partial(_chosen, self._make, choose))


def _chosen(make: Callable[[], PlatformHandlers], choose: Callable[[PlatformHandlers], Handler]) -> Handler:
    return choose(make())
