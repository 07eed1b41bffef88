"""`Client`: predictions, explanations and look-ups by key from a running server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from mlrf.client.calls import Call
from mlrf.client.configured_client import ConfiguredClient
from mlrf.client.transport import Transport
from mlrf.client.transport_settings import TransportSettings
from mlrf.core.errors import MlrfError
from mlrf.model.curve import Curve
from mlrf.model.explanation_kinds import StoredGameChoice

T = TypeVar("T")


class Client(ConfiguredClient[Transport]):
    """A client of one server; thread-safe; close it or use it in a `with` block.

    Example:
        with Client("http://localhost:8080") as client:
            client.predict({"price": 3.5, "promo": True, "store": "a"})
            client.predict(frame)

    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client may still be used and opens new ones."""
        self._transport.close()

    def models(self) -> dict[str, Any]:
        """Return the served models: the document of `GET /models`."""
        return self._drive(self._calls.models(), None)

    def is_ready(self) -> bool:
        """Return whether the server reports that it is ready; raises errors of the connection."""
        return self._drive(self._calls.is_ready(), None)

    def predict(self, rows: Any, *, base_margin: Any = None, timeout_s: float | None = None) -> Any:
        """Return predictions: what the training library's `predict` returns for the model.

        `rows`: one record (a mapping by feature name) gives a float, or K floats of a multiclass model. A table (pandas,
        Polars, Arrow, a NumPy array [n, F] with categories as codes, or a list of records) gives [n] or [n, K] values as a
        series or frame of the same library, NumPy for arrays and lists. All chunks of a table are answered by one version
        of the model; VersionChangedError if it was replaced twice meanwhile. `base_margin` as of `Model.predict`. Errors are
        those of `mlrf.core.errors`.
        """
        return self._drive(self._calls.predict(rows, base_margin), timeout_s)

    def predict_proba(self, rows: Any, *, base_margin: Any = None, timeout_s: float | None = None) -> Any:
        """Return the probabilities of a classifier's classes in the order of `classes` in `models()`; `rows` as for `predict`.

        InvalidRequestError for a model that is not a classifier.
        """
        return self._drive(self._calls.predict_proba(rows, base_margin), timeout_s)

    def leaves(self, rows: Any, *, timeout_s: float | None = None) -> Any:
        """Return the leaf that a record reaches in each tree, or those of a table's rows [n, trees], as `Model.leaves`."""
        return self._drive(self._calls.leaves(rows), timeout_s)

    def explain(
        self,
        rows: Any,
        *,
        top: int | None = None,
        base_margin: Any = None,
        interactions: bool | int = False,
        timeout_s: float | None = None,
        **game: Unpack[StoredGameChoice],
    ) -> Any:
        """Return exact Shapley values of the raw margin.

        One record gives the server's explanation (`margin`, `base`, `contributions`, `other`); `top` limits it to that many
        features. A table gives an `mlrf` Explanation of all features ([n, F] or [n, F, K]). `interactions=True` adds the values
        of all pairs of features, a number k those of the k largest pairs of a record. `background=True` explains against the
        rows that the bundle was built with, with their mean margin as `base`, `groups=True` the groups of features that it was
        built with as whole players, as `Model.explain` does; NotExplainableError for a bundle without them.
        """
        return self._drive(self._calls.explain(rows, top, base_margin, interactions, game), timeout_s)

    def curve(self, row: Mapping[str, Any], features: str | Sequence[str], *, timeout_s: float | None = None) -> Curve:
        """Return what the model answers for a record while one feature, or two, takes every value; as `Model.curve`.

        `row` is a record by feature name, or `{"key": {field: value}}` with, if need be, `"overrides"`, for a stored row.
        """
        return self._drive(self._calls.curve(row, features), timeout_s)

    def by_key(
        self,
        keys: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        overrides: Mapping[str, Any] | None = None,
        explain: bool | int = False,
        timeout_s: float | None = None,
    ) -> Any:
        """Return the server's answer for stored rows: `prediction`, `features_as_of` and, with `explain`, `explanation`.

        One key gives one answer, a sequence of keys a list of answers. `overrides` replace features of the one row found
        under a single key. KeyNotFoundError names a key without a stored row.
        """
        return self._drive(self._calls.by_key(keys, overrides, explain), timeout_s)

    @staticmethod
    def _make_transport(url: str, settings: TransportSettings) -> Transport:
        return Transport(url, settings)

    def _drive(self, call: Call[T], timeout_s: float | None) -> T:
        """Make the requests that a call yields, before one deadline, and return its result."""
        deadline_s = self._transport.settings.deadline_s(timeout_s)
        try:
            request = next(call)
            while True:
                try:
                    response = self._transport.request(request, deadline_s)
                except MlrfError as error:
                    request = call.throw(error)
                else:
                    request = call.send(response)
        except StopIteration as done:
            result: T = done.value
            return result
