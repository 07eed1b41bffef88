"""A generation: what one worker serves at one time, and the routes to it.

A generation is immutable. Loading another version or unloading a model creates the next generation. Requests in flight keep the
generation that they started with, which is freed after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from mlrf import __version__
from mlrf.core.bundle import Bundle
from mlrf.core.errors import FeaturesUnavailableError, MlrfError, ModelNotFoundError, NotReadyError
from mlrf.serving import route_paths as paths
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.http.router import Route, Router
from mlrf.serving.models.loaded_model import LoadedModel
from mlrf.serving.models.refused_version import RefusedVersion
from mlrf.serving.models.route_building import public_routes, repository_route
from mlrf.serving.oip.repository_calls import NO_REPOSITORY, Repository
from mlrf.serving.oip.rest.handlers import RestHandlers
from mlrf.serving.pages import ui
from mlrf.serving.pages.page_facts import PageFacts
from mlrf.serving.pages.page_loader import PageLoader
from mlrf.serving.platforms.additional_paths import additional_paths
from mlrf.serving.route_paths import fill, split_path
from mlrf.serving.route_spec import RouteSpec
from mlrf.serving.routes import ALIASES, ROUTES, V1_MODEL
from mlrf.serving.runtime.results import Awaited, Handler, imported_late
from mlrf.serving.runtime.thresholds import PLANE_MODELS
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.metric_positions import Layout

if TYPE_CHECKING:
    from mlrf.serving.oip.data_plane import DataPlane


class Unloaded(msgspec.Struct, frozen=True):
    """A model that is out of service: its last bundle, of which nothing is open, and its number."""

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
        layout: Layout,
        check_serving: Callable[[], None],
        repository: Repository = NO_REPOSITORY,
        refused: Mapping[str, RefusedVersion] = MappingProxyType({}),
    ) -> None:
        """Create the routes; `check_serving` raises NotReadyError while the worker must not get more requests.

        `refused` are the versions that the server refused at its start, by model.
        """
        self._refused = dict(refused)
        self._layout = layout
        self._served = {name: each for name, each in models.items() if isinstance(each, LoadedModel)}
        unloaded = {name: str(each.number) for name, each in models.items() if isinstance(each, Unloaded)}
        self._default = default
        self._check_serving = check_serving
        self._settings = settings
        served = self.served

        def make_plane() -> DataPlane:
            from mlrf.serving.oip.data_plane import DataPlane  # noqa: PLC0415  as of `LoadedModel.make_inference`

            inferences = [each.make_inference() for each in served]
            return DataPlane(
                inferences, check_serving, __version__, unloaded, repository, refused.keys(), exposition.total
            )

        @cache
        def plane() -> DataPlane:
            return imported_late(make_plane)

        self._plane = plane
        if len(served) > PLANE_MODELS:
            plane()
        # No handler kept here refers to the generation: a reference cycle would keep its models open after `release`.
        self.rest: RestHandlers = RestHandlers(plane)
        names = tuple(models)
        self.alive: Handler = lambda _body: b'{"status":"alive"}'
        self.version: Handler = lambda _body: __version__.encode()
        served_names = list(self._served)
        self.model_names: Handler = lambda _body: msgspec.json.encode({"models": served_names})
        self.metrics: Handler = exposition.answer
        models = _describe(self._served, default, self._refused)
        self.models: Handler = _constant(lambda: msgspec.json.encode(models))
        facts = PageFacts(
            bundles=[each.bundle for each in self.served],
            default=default,
            names=names,
            version=__version__,
            max_batch=settings.max_batch,
            predict_route=settings.platforms.predict_route,
            has_keys=settings.access.keys is not None,
        )
        self._pages = PageLoader(facts)
        chosen = settings.default is not None or len(names) == 1
        versions = {each.name: each.version_names for each in served}
        self.routes = public_routes(
            self._handler_of,
            versions,
            names,
            default,
            layout,
            {**ALIASES, **additional_paths(settings.platforms, served_names)},
            default_is_chosen=chosen,
        )

    @property
    def plane(self) -> DataPlane:
        """The data plane of the Open Inference Protocol, for every transport, made when it is first needed.

        OverloadedError if its modules cannot be imported now.
        """
        return self._plane()

    def page(self, module: str) -> Handler:
        """Return the handler of a page, by the name of its module in `pages`."""
        return self._pages.handler(module)

    def page_file(self, name: str) -> Handler | None:
        """Return the handler of a file of the page at /ui; None with `--ui off`."""
        return ui.file_handler(name) if self._settings.ui == "on" else None

    @property
    def served(self) -> list[LoadedModel]:
        """What is served, in the order of the command line."""
        return list(self._served.values())

    def of(self, name: str) -> LoadedModel:
        """Return the model served under a name; raises ModelNotFoundError if there is none."""
        if name not in self._served:
            self.plane.find(name)  # raises the error that says why
        return self._served[name]

    def router(self) -> Router:
        """Return the router of this generation."""
        return Router(self.routes, self._settings.limits.max_body_bytes, self._missing)

    def release(self) -> None:
        """Release the models once no router refers to this generation.

        Routes and generation refer to each other, and the collector does not find such a cycle in a frozen heap.
        """
        self.routes.clear()
        self._served.clear()

    def _missing(self, path: str) -> MlrfError | Route | None:
        """Return an error for the path of a model that is not served, or the route of a path that `routes` lacks.

        A caller that loads or unloads an unknown model needs the scope before it learns that the model is unknown.
        """
        try:
            if any(path == each.path for each in ROUTES if each.is_per_model):
                self.plane.find(self._default)
            elif split_path(path, paths.MODEL)[1]:
                self.plane.find(split_path(path, paths.MODEL)[0])
            elif name := split_path(path, V1_MODEL)[0]:
                self.plane.find(name.partition(":")[0])
            elif name := split_path(path, paths.V2_MODEL)[0]:
                version, rest = split_path(path, fill(paths.V2_VERSION, name=name))
                model = self.plane.find(name, version)
                if version:
                    # The path has fewer digits of the version's digest than the route.
                    return self.routes.get(fill(paths.V2_VERSION, name=name, version=model.version) + rest)
        except (ModelNotFoundError, NotReadyError) as error:
            return error
        return repository_route(path, self._handler_of, self._layout)

    def _handler_of(self, spec: RouteSpec, name: str) -> Handler | None:
        return None if spec.handler is None else spec.handler(self, name)

    def ready(self, _body: bytes) -> bytes | Awaited:
        """Answer `GET /readyz`; raises NotReadyError with the reason."""
        self._check_serving()
        for each in self._served.values():
            if not each.reproduces_example():
                raise NotReadyError(f"the model {each.name} gives another answer for the same row")
        if any(each.rows is not None for each in self._served.values()):
            return Awaited(self._ready_by_key)
        return b'{"status":"ready"}'

    async def _ready_by_key(self) -> bytes:
        """Return the state of each store; requests that need no row do not depend on it."""
        by_key = {}
        for each in self.served:
            if each.rows is not None:
                try:
                    await each.rows.check()
                    by_key[each.name] = "ready"
                except FeaturesUnavailableError as error:
                    by_key[each.name] = f"not ready: {error}"
        return msgspec.json.encode({"status": "ready", "by_key": by_key})


def _describe(served: Mapping[str, LoadedModel], default: str, refused: Mapping[str, RefusedVersion]) -> dict[str, Any]:
    """Return the response of `GET /models`."""
    return {
        "models": [each.describe() for each in served.values()],
        "default": default,
        "refused": [
            {
                "name": name,
                "number": each.version.number,
                "version": each.version.digest[:12],
                "serving": None if each.serving is None else each.serving.number,
            }
            for name, each in refused.items()
        ],
    }


def _constant(make: Callable[[], bytes]) -> Handler:
    """Return a handler of a constant document, made at the first request."""
    made: list[bytes] = []

    def answer(_body: bytes) -> bytes:
        if not made:
            made.append(make())
        return made[0]

    return answer
