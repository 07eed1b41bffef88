"""The handlers of one model on other platforms' routes; the first request to one imports what reads its body."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from mlrf.core.schema import Schema
from mlrf.serving.platforms.settings import Platform
from mlrf.serving.runtime.results import Handler, OnFirstUse

if TYPE_CHECKING:
    from mlrf.serving.platforms.rows_handler import PlatformModel


class ModelRoutes:
    """Makes the handlers of platforms' routes on first use."""

    def __init__(
        self, schema: Schema, max_rows: int, batch: Handler, platform: Platform | None, *, predicts_labels: bool
    ) -> None:
        """`batch` answers `/predict/batch`; `predicts_labels`: whether `predict` of the object that was built returns them."""

        def model() -> PlatformModel:
            from mlrf.serving.native.canonical_rows import RowWriter  # noqa: PLC0415  most servers never need them
            from mlrf.serving.platforms.responses import Responses  # noqa: PLC0415
            from mlrf.serving.platforms.rows_handler import PlatformModel  # noqa: PLC0415

            writer = RowWriter(schema, max_rows, "--max-infer-rows")
            return PlatformModel(writer, batch, Responses(predicts_labels=predicts_labels), platform)

        self._model = model

    def handler(self, module: str, function: str) -> Handler:
        """Return the handler that a function of a module of this package makes from a `PlatformModel`."""
        return OnFirstUse(partial(self._handler, module, function))

    def _handler(self, module: str, function: str) -> Handler:
        make: Callable[[PlatformModel], Handler] = getattr(import_module(f"{__package__}.{module}"), function)
        return make(self._model())
