"""`AsyncClient`: the calls of `Client` on an asyncio event loop, over httpx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from mlrf.client.async_transport import AsyncTransport
from mlrf.client.calls import Call
from mlrf.client.configured_client import ConfiguredClient
from mlrf.client.transport_settings import TransportSettings
from mlrf.core.errors import MlrfError
from mlrf.model.curve import Curve
from mlrf.model.explanation_kinds import StoredGameChoice

T = TypeVar("T")


class AsyncClient(ConfiguredClient[AsyncTransport]):
    """A client of one server for one event loop; close it or use it in an `async with` block. Needs `mlrf[httpx]`.

    The constructor's arguments, and what the methods return, are those of `Client`.

    Example:
        async with AsyncClient("http://localhost:8080") as client:
            await client.predict({"price": 3.5, "promo": True, "store": "a"})

    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def models(self) -> dict[str, Any]:
        """Return the models that the server serves; see `Client.models`."""
        return await self._drive(self._calls.models(), None)

    async def is_ready(self) -> bool:
        """Return whether the server answers predictions; see `Client.is_ready`."""
        return await self._drive(self._calls.is_ready(), None)

    async def predict(self, rows: Any, *, base_margin: Any = None, timeout_s: float | None = None) -> Any:
        """Return the predictions of a table or rows; see `Client.predict`."""
        return await self._drive(self._calls.predict(rows, base_margin), timeout_s)

    async def predict_proba(self, rows: Any, *, base_margin: Any = None, timeout_s: float | None = None) -> Any:
        """Return the probabilities of the classes, one column each; see `Client.predict_proba`."""
        return await self._drive(self._calls.predict_proba(rows, base_margin), timeout_s)

    async def leaves(self, rows: Any, *, timeout_s: float | None = None) -> Any:
        """Return the leaf that each row reaches in each tree; see `Client.leaves`."""
        return await self._drive(self._calls.leaves(rows), timeout_s)

    async def explain(
        self,
        rows: Any,
        *,
        top: int | None = None,
        base_margin: Any = None,
        interactions: bool | int = False,
        timeout_s: float | None = None,
        **game: Unpack[StoredGameChoice],
    ) -> Any:
        """Return the contributions of the features to each prediction; see `Client.explain`."""
        return await self._drive(self._calls.explain(rows, top, base_margin, interactions, game), timeout_s)

    async def curve(
        self, row: Mapping[str, Any], features: str | Sequence[str], *, timeout_s: float | None = None
    ) -> Curve:
        """Return the predictions of a row as one or two features vary; see `Client.curve`."""
        return await self._drive(self._calls.curve(row, features), timeout_s)

    async def by_key(
        self,
        keys: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        overrides: Mapping[str, Any] | None = None,
        explain: bool | int = False,
        timeout_s: float | None = None,
    ) -> Any:
        """Return the prediction for a stored row; see `Client.by_key`."""
        return await self._drive(self._calls.by_key(keys, overrides, explain), timeout_s)

    @staticmethod
    def _make_transport(url: str, settings: TransportSettings) -> AsyncTransport:
        return AsyncTransport(url, settings)

    async def _drive(self, call: Call[T], timeout_s: float | None) -> T:
        """Make the requests that a call yields, before one deadline, and return its result."""
        deadline_s = self._transport.settings.deadline_s(timeout_s)
        try:
            request = next(call)
            while True:
                try:
                    response = await self._transport.request(request, deadline_s)
                except MlrfError as error:
                    request = call.throw(error)
                else:
                    request = call.send(response)
        except StopIteration as done:
            result: T = done.value
            return result
