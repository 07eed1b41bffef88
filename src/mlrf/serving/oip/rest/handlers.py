"""The handlers of the routes under `/v2`, for one generation of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.runtime.results import Awaited, Handler, OnFirstUse

if TYPE_CHECKING:
    from mlrf.serving.oip.data_plane import DataPlane

M = TypeVar("M", bound=msgspec.Struct)


class _Index(msgspec.Struct):
    ready: bool = False


class _Act(msgspec.Struct):
    parameters: dict[str, Any] | None = None


class RestHandlers:
    """The handlers for the data plane that `plane()` returns at the time of a request."""

    def __init__(self, plane: Callable[[], DataPlane]) -> None:
        self._plane = plane

    def server_metadata(self, _body: bytes) -> bytes:
        """Answer `GET /v2`."""
        return msgspec.json.encode(self._plane().server_metadata())

    def live(self, _body: bytes) -> bytes:
        """Answer `GET /v2/health/live`."""
        return b'{"live":true}'

    def ready(self, _body: bytes) -> bytes:
        """Answer `GET /v2/health/ready`; NotReadyError says why not."""
        self._plane().check_ready()
        return b'{"live":true,"ready":true}'

    def statistics(self, _body: bytes) -> bytes:
        """Answer `GET /v2/models/stats`."""
        return msgspec.json.encode(self._plane().statistics())

    def index(self, body: bytes) -> bytes:
        """Answer `POST /v2/repository/index`."""
        return msgspec.json.encode(self._plane().index(ready=_read(body, _Index, '{"ready": true}').ready))

    def model_metadata(self, name: str) -> Handler:
        """Return the handler of a model's metadata."""
        return _json(lambda: self._plane().model_metadata(name))

    def model_ready(self, name: str) -> Handler:
        """Return the handler of a model's readiness."""

        def ready() -> dict[str, Any]:
            self._plane().check_model_ready(name)
            return {"name": name, "ready": True}

        return _json(ready)

    def model_config(self, name: str) -> Handler:
        """Return the handler of a model's configuration."""
        return _json(lambda: self._plane().model_config(name))

    def model_statistics(self, name: str) -> Handler:
        """Return the handler of a model's statistics."""
        return _json(lambda: self._plane().statistics(name))

    def infer(self, name: str) -> Handler:
        """Return the handler of a model's infer requests."""
        plane = self._plane

        def make() -> Handler:
            from mlrf.serving.oip.rest.infer_handler import InferHandler  # noqa: PLC0415  most servers never get one

            return InferHandler(plane(), name)

        return OnFirstUse(make)

    def load(self, name: str) -> Handler:
        """Return the handler that loads a model's current version."""
        return _acting(lambda parameters: self._plane().load(name, parameters))

    def unload(self, name: str) -> Handler:
        """Return the handler that unloads a model."""
        return _acting(lambda parameters: self._plane().unload(name, parameters))


def _json(make: Callable[[], Any]) -> Handler:
    return lambda _body: msgspec.json.encode(make())


def _acting(act: Callable[[Mapping[str, Any]], Awaited]) -> Handler:
    def handle(body: bytes) -> Awaited:
        acting = act(_read(body, _Act, '{"parameters": {…}}').parameters or {})

        async def finish() -> bytes:
            await acting.run()
            return b"{}"

        return Awaited(finish)

    return handle


def _read(body: bytes, kind: type[M], shown: str) -> M:
    try:
        return msgspec.json.decode(body, type=kind) if body else kind()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"the body is not {shown}: {error}") from error
