"""The routes under `/v2` of one generation of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.http.router import Route
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.rest.infer_handler import InferHandler, fit
from mlrf.serving.oip.served_model import OipModel
from mlrf.serving.routes import make_route
from mlrf.serving.runtime.results import Awaited, Handler

M = TypeVar("M", bound=msgspec.Struct)
_REPOSITORY = "/v2/repository/models/"
_ACTS = ("load", "unload")


class _Index(msgspec.Struct):
    ready: bool = False


class _Act(msgspec.Struct):
    parameters: dict[str, Any] | None = None


def rest_routes(plane: DataPlane, models: Mapping[str, OipModel], timed: Mapping[str, OipModel]) -> dict[str, Route]:
    """Return the routes by path; a version is named in a path by its number, or by its digest, short or whole."""

    def ready() -> dict[str, bool]:
        plane.check_ready()
        return {"live": True, "ready": True}

    def model_ready(name: str) -> dict[str, Any]:
        plane.check_model_ready(name)
        return {"name": name, "ready": True}

    gets: dict[str, tuple[str, Callable[[], Any]]] = {
        "/v2": ("/v2", plane.server_metadata),
        "/v2/health/live": ("/v2/health/live", lambda: {"live": True}),
        "/v2/health/ready": ("/v2/health/ready", ready),
        "/v2/models/stats": ("/v2/models/stats", plane.statistics),
    }
    routes = {path: make_route(label, {b"GET": _telling(tell)}) for path, (label, tell) in gets.items()}
    routes["/v2/repository/index"] = make_route(
        "/v2/repository/index",
        {b"POST": lambda body: msgspec.json.encode(plane.index(ready=_read(body, _Index, '{"ready": true}').ready))},
        fit=fit,
    )
    for name, model in models.items():
        told: dict[str, Callable[[], Any]] = {
            "": partial(plane.model_metadata, name),
            "/ready": partial(model_ready, name),
            "/config": partial(plane.model_config, name),
            "/stats": partial(plane.statistics, name),
        }
        infer, infer_timed = InferHandler(model), InferHandler(timed[name])
        for prefix in (f"/v2/models/{name}", *(f"/v2/models/{name}/versions/{v}" for v in model.paths)):
            for path, tell in told.items():
                routes[prefix + path] = make_route("/v2/models/{name}" + path, {b"GET": _telling(tell)})
            routes[prefix + "/infer"] = make_route(
                "/v2/models/{name}/infer", {b"POST": infer}, timed={b"POST": infer_timed}, fit=fit
            )
    return routes


def _telling(tell: Callable[[], Any]) -> Handler:
    return lambda _body: msgspec.json.encode(tell())


def repository_routes(name: str, plane: Callable[[], DataPlane]) -> dict[str, Route]:
    """Return the routes that load and unload a model, by path; `plane` is the one that is served when they are asked."""
    return {f"{_REPOSITORY}{name}/{act}": _acting(name, act, plane) for act in _ACTS}


def repository_route(path: str, plane: Callable[[], DataPlane]) -> Route | None:
    """Return the route of a path that would load or unload a model, whichever; None for another path."""
    if not path.startswith(_REPOSITORY):
        return None
    return repository_routes(path.removeprefix(_REPOSITORY).partition("/")[0], plane).get(path)


def _acting(name: str, act: str, plane: Callable[[], DataPlane]) -> Route:
    def handle(body: bytes) -> Awaited:
        parameters = _read(body, _Act, '{"parameters": {…}}').parameters or {}
        acting = plane().load(name, parameters) if act == "load" else plane().unload(name, parameters)

        async def finish() -> bytes:
            await acting.run()
            return b"{}"

        return Awaited(finish)

    return make_route(f"{_REPOSITORY}{{name}}/{act}", {b"POST": handle}, fit=fit)


def _read(body: bytes, kind: type[M], shown: str) -> M:
    try:
        return msgspec.json.decode(body, type=kind) if body else kind()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"the body is not {shown}: {error}") from error
