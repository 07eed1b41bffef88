"""A generation: what one worker serves at one time, and the routes to it.

A generation never changes. Taking another version into service, or a model out of it, makes the next generation of it and what
else is served; requests under way keep the one they began with, and with the last of them it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from mlrf import __version__
from mlrf.core.bundle import Bundle
from mlrf.core.errors import FeaturesUnavailableError, MlrfError, ModelNotFoundError, NotReadyError
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.http.router import HTML, TEXT, Route, Router
from mlrf.serving.models.loaded_model import LoadedModel
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.repository import ALONE, Repository
from mlrf.serving.oip.rest.routes import repository_route, repository_routes, rest_routes
from mlrf.serving.pages import docs, openapi
from mlrf.serving.routes import PREDICTING, make_route
from mlrf.serving.runtime.results import Awaited, Handler
from mlrf.serving.telemetry.exposition import Exposition


class Unloaded(NamedTuple):
    """A model that is out of service: the bundle it had, of which nothing is open, and its number."""

    bundle: Bundle
    number: int


class Generation:
    """The versions of all models that are served at one time, and the routes to them."""

    def __init__(
        self,
        models: Mapping[str, LoadedModel | Unloaded],
        default: str,
        settings: ServeSettings,
        exposition: Exposition,
        check_serving: Callable[[], None],
        repository: Repository = ALONE,
    ) -> None:
        """Make the routes; `check_serving` raises NotReadyError while the worker is to get no more requests."""
        self._served = {name: each for name, each in models.items() if isinstance(each, LoadedModel)}
        unloaded = {name: str(each.number) for name, each in models.items() if isinstance(each, Unloaded)}
        self._default = default
        self._check_serving = check_serving
        self._settings = settings
        described = [each.described for each in self.served]
        self.plane = DataPlane(described, check_serving, __version__, unloaded, repository)
        """What the Open Inference Protocol asks, over whichever transport."""
        self._names = tuple(models)
        self.routes = self._make_routes(exposition)

    @property
    def served(self) -> list[LoadedModel]:
        """What is served, in the order of the command line."""
        return list(self._served.values())

    def of(self, name: str) -> LoadedModel:
        """Return what is served under a name; ModelNotFoundError where nothing is."""
        self.plane.find(name)
        return self._served[name]

    def router(self) -> Router:
        """Return the way from heads to this generation's handlers."""
        return Router(self.routes, self._settings.limits.max_body_bytes, self._missing)

    def release(self) -> None:
        """Let go of the models once no router asks here any more.

        The routes hold what made them: a ring, which the collector would have to find, and does not where it is frozen.
        """
        self.routes.clear()
        self._served.clear()

    def _missing(self, path: str) -> MlrfError | Route | None:
        """Explain a path that no route has, when it asks for a model that is not served.

        Who would load or unload one that nobody knows must be allowed to, before that is explained.
        """
        parts = path.split("/")
        try:
            if path in PREDICTING:
                self.plane.find(self._default)
            elif len(parts) > 3 and parts[1] == "models":  # noqa: PLR2004  /models/{name}/…
                self.plane.find(parts[2])
            elif len(parts) > 3 and parts[1:3] == ["v2", "models"]:  # noqa: PLR2004  /v2/models/{name}…
                version = parts[5] if len(parts) > 5 and parts[4] == "versions" else ""  # noqa: PLR2004
                model = self.plane.find(parts[3], version)
                if version:
                    # Fewer digits of its digest than a route is made of.
                    return self.routes.get("/".join((*parts[:5], model.version, *parts[6:])))
        except ModelNotFoundError as error:
            return error
        return repository_route(path, lambda: self.plane)

    def _make_routes(self, exposition: Exposition) -> dict[str, Route]:
        routes: dict[str, Route] = {}
        for name, served in self._served.items():
            for prefix in [f"/models/{name}"] + ([""] if name == self._default else []):
                for label, handler in served.handlers.items():
                    timed = {b"POST": served.timed[label]}
                    routes[prefix + label] = make_route(label, {b"POST": handler}, timed=timed)
        described = {name: served.described for name, served in self._served.items()}
        timed_by_name = {name: served.described_timed for name, served in self._served.items()}
        routes |= rest_routes(self.plane, described, timed_by_name)
        for name in self._names:
            routes |= repository_routes(name, lambda: self.plane)
        facts = ([each.bundle for each in self.served], self._default, __version__, self._settings.max_batch)
        names = self._names
        routes["/models"] = make_route("/models", {b"GET": _constant(lambda: msgspec.json.encode(self._describe()))})
        routes["/healthz"] = make_route("/healthz", {b"GET": lambda _body: b'{"status":"alive"}'})
        routes["/readyz"] = make_route("/readyz", {b"GET": self._ready})
        routes["/metrics"] = make_route("/metrics", {b"GET": lambda _body: exposition.text()}, TEXT)
        contract = _constant(lambda: msgspec.json.encode(openapi.document(*facts, names)))
        routes["/openapi.json"] = make_route("/openapi.json", {b"GET": contract})
        routes["/docs"] = make_route("/docs", {b"GET": _constant(lambda: docs.page(*facts))}, HTML)
        return routes

    def _ready(self, _body: bytes) -> bytes | Awaited:
        self._check_serving()
        for each in self._served.values():
            if not each.repeats_itself():
                raise NotReadyError(f"the model {each.name} does not repeat its own answer")
        if any(each.rows is not None for each in self._served.values()):
            return Awaited(self._ready_by_key)
        return b'{"status":"ready"}'

    async def _ready_by_key(self) -> bytes:
        """Say of each store whether it answers: what needs no row is answered all the same."""
        by_key = {}
        for each in self.served:
            if each.rows is not None:
                try:
                    await each.rows.check()
                    by_key[each.name] = "ready"
                except FeaturesUnavailableError as error:
                    by_key[each.name] = f"not ready: {error}"
        return msgspec.json.encode({"status": "ready", "by_key": by_key})

    def _describe(self) -> dict[str, Any]:
        return {"models": [each.describe() for each in self._served.values()], "default": self._default}


def _constant(make: Callable[[], bytes]) -> Handler:
    """Return a handler of a document that never changes, made when first asked for."""
    made: list[bytes] = []

    def answer(_body: bytes) -> bytes:
        if not made:
            made.append(make())
        return made[0]

    return answer
