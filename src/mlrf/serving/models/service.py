"""The service of one worker: its current generation of models, which is replaced as a whole.

Labels of routes come from the route table alone, so that the arbiter can lay out the control block before any model is loaded.
Models are opened after the fork.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import MlrfError, ModelNotFoundError, NotReadyError, RouteNotFoundError
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.cache.answer_cache import AnswerCache, CacheCounts
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.http.router import Route, Router
from mlrf.serving.models.default_model import default_name
from mlrf.serving.models.generation import Generation, Unloaded
from mlrf.serving.models.loaded_model import LoadedModel
from mlrf.serving.models.refused_version import RefusedVersion
from mlrf.serving.models.route_building import admin_routes, repository_route
from mlrf.serving.native.push_handler import PushHandler
from mlrf.serving.oip.repository_calls import NO_REPOSITORY, Repository
from mlrf.serving.oip.rest.handlers import RestHandlers
from mlrf.serving.route_paths import ADMIN_MODEL, ADMIN_MODELS, split_path
from mlrf.serving.route_spec import RouteSpec
from mlrf.serving.runtime.cost_model import CostModel
from mlrf.serving.runtime.results import Handler
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.worker_meter import WorkerMeter

if TYPE_CHECKING:
    from mlrf.serving.oip.data_plane import DataPlane


class Loader(Protocol):
    """Loads and unloads models in every worker."""

    async def load(self, name: str) -> bytes:
        """Load a model's current version; raises MlrfError if refused."""
        ...

    async def unload(self, name: str) -> bytes:
        """Unload a model; raises MlrfError if refused."""
        ...

    def load_handler(self, name: str) -> Handler | None:
        """Return the handler of `/admin/models/{name}/load`; None for a model that is not from a repository."""
        ...

    def unload_handler(self, name: str) -> Handler | None:
        """Return the handler of `/admin/models/{name}/unload`; None for a model that is not from a repository."""
        ...


class Service:
    """Holds the generation a worker serves, and replaces it."""

    def __init__(
        self,
        bundles: Sequence[Bundle],
        settings: ServeSettings,
        meter: WorkerMeter,
        exposition: Exposition,
        numbers: Mapping[str, int] = MappingProxyType({}),
        unloaded: Collection[str] = (),
        loader: Loader | None = None,
        refused: Mapping[str, RefusedVersion] = MappingProxyType({}),
        costs: Mapping[str, CostModel] = MappingProxyType({}),
    ) -> None:
        """Open every model except those that are `unloaded`.

        BundleError if one cannot be opened, EngineError if one cannot answer its example. `numbers` are the versions of models
        from a repository, by name; `loader` loads and unloads them in all workers; `refused` are the versions that the server
        refused at its start, by model; `costs` are the cost models measured there, by version.
        """
        self._settings = settings
        self._costs = costs
        self._meter = meter
        self._exposition = exposition
        self._default = default_name([bundle.name for bundle in bundles], settings.default)
        self._cache = _cache(settings, meter)
        self.draining = False
        self._loader = loader
        self._repository = NO_REPOSITORY if loader is None else Repository(loader.load, loader.unload)
        self._refused = dict(refused)
        self._models: dict[str, LoadedModel | Unloaded] = {}
        """By name, in the order of the command line."""
        for bundle in bundles:
            number = numbers.get(bundle.name, 1)
            made = Unloaded(bundle, number) if bundle.name in unloaded else self.open(bundle, number)
            self._models[bundle.name] = made
        self.generation = self._next()
        self.push_handler: PushHandler = PushHandler(lambda name: self.generation.of(name).rows)
        self.rest: RestHandlers = RestHandlers(lambda: self.plane)
        self.admin_routes = admin_routes(self._handler_of, tuple(self._models), meter.layout)

    @property
    def routes(self) -> dict[str, Route]:
        """The routes of what is served now."""
        return self.generation.routes

    @property
    def plane(self) -> DataPlane:
        """The data plane of what is served now."""
        return self.generation.plane

    def admin_router(self) -> Router:
        """Return the router of the admin listener."""
        return Router(self.admin_routes, self._settings.limits.max_body_bytes, self._missing_admin_route)

    def open(
        self, bundle: Bundle, number: int = 1, prove: Callable[[RowPredictor], object] = lambda _model: None
    ) -> LoadedModel:
        """Open another version while the current ones keep serving, from any thread; `prove` as in `LoadedModel`."""
        return LoadedModel(
            bundle,
            self._settings,
            self._meter,
            self._cache,
            number=number,
            prove=prove,
            costs=self._costs.get(bundle.version),
        )

    async def connect(self, limit_s: float) -> None:
        """Connect to shared stores before the first request, within the time limit."""
        rows = [each.rows for each in self.generation.served if each.rows is not None]
        await asyncio.gather(*(each.connect(limit_s) for each in rows))

    def bundle_of(self, name: str) -> Bundle:
        """Return the bundle that is served under a name, or was before its model was unloaded."""
        return self._models[name].bundle

    def served_as(self, name: str) -> LoadedModel | None:
        """Return what is served under a name; None while the model is unloaded."""
        found = self._models[name]
        return found if isinstance(found, LoadedModel) else None

    def put(self, name: str, served: LoadedModel | None) -> Generation:
        """Make the next generation, with another version of a model or without the model; return the old generation.

        The caller routes the next requests to the new one, then releases the old one.
        """
        old, before = self.generation, self._models[name]
        if isinstance(before, LoadedModel):
            # Before the next request can find them. Answers of the old version that are being computed are sent, but not
            # stored.
            before.forget_answers()
        self._refused.pop(name, None)
        self._models = {**self._models, name: served or Unloaded(before.bundle, before.number)}
        self.generation = self._next()
        return old

    def _next(self) -> Generation:
        bundles = [each.bundle for each in self._models.values() if isinstance(each, LoadedModel)]
        self._exposition.set_bundles([{"model": b.name, "version": b.short_version} for b in bundles])
        refused = {name: each.version.digest[:12] for name, each in self._refused.items()}
        self._exposition.set_refused([{"model": name, "version": version} for name, version in refused.items()])
        return Generation(
            self._models,
            self._default,
            self._settings,
            self._exposition,
            self._meter.layout,
            self.check_serving,
            self._repository,
            self._refused,
        )

    def check_serving(self) -> None:
        """Raise NotReadyError while this worker must not get more requests."""
        if self.draining:
            raise NotReadyError("the server is shutting down")

    def _missing_admin_route(self, path: str) -> MlrfError | Route | None:
        """Return an error for an admin path of an unknown model, or the route of a path that loads or unloads one."""
        name, rest = split_path(path, ADMIN_MODEL)
        if rest:
            try:
                self.plane.check_known(name)
            except ModelNotFoundError as error:
                return error
        return repository_route(path, self._handler_of, self._meter.layout) or RouteNotFoundError(
            "the admin listener has no route with this path; docs/reference/routes.md lists its routes, such as "
            f"GET {ADMIN_MODELS}"
        )

    def _handler_of(self, spec: RouteSpec, name: str) -> Handler | None:
        return None if spec.admin is None else spec.admin(self, name)

    def versions(self, _body: bytes) -> bytes:
        """Answer `GET /admin/models`."""
        versions = [(each.name, each.bundle) for each in self.generation.served]
        document = {
            "models": [{"name": name, "version": b.short_version, "digest": b.version} for name, b in versions],
            "unloaded": [name for name, each in self._models.items() if isinstance(each, Unloaded)],
            "refused": [
                {"name": name, "number": each.version.number, "digest": each.version.digest, "reason": each.reason}
                for name, each in self._refused.items()
            ],
            "default": self._default,
        }
        return msgspec.json.encode(document)

    def load_handler(self, name: str) -> Handler | None:
        """Return the handler that puts a version of a model into service; None for a model that is not from a repository."""
        return None if self._loader is None else self._loader.load_handler(name)

    def unload_handler(self, name: str) -> Handler | None:
        """Return the handler that takes a model out of service; None for a model that is not from a repository."""
        return None if self._loader is None else self._loader.unload_handler(name)


def _cache(settings: ServeSettings, meter: WorkerMeter) -> AnswerCache | None:
    """Return this worker's part of the server's cache; None when there is none."""
    caching = settings.caching
    if not caching.size_bytes:
        return None
    counts = CacheCounts(
        evictions=meter.counter("mlrf_cache_evictions_total"),
        set_bytes=meter.gauge("mlrf_cache_bytes"),
    )
    shared = None
    if caching.shared_cache is not None:
        from mlrf.serving.cache.redis_cache import RedisCache, SharedCounts  # noqa: PLC0415  most servers have none

        shared = RedisCache(
            caching.shared_cache,
            caching.cache_ttl_s,
            SharedCounts(
                hits=meter.counter("mlrf_shared_cache_hits_total"),
                misses=meter.counter("mlrf_shared_cache_misses_total"),
                failures=meter.counter("mlrf_shared_cache_failures_total"),
                set_up=meter.gauge("mlrf_shared_cache_up"),
            ),
        )
    return AnswerCache(caching.size_bytes // settings.workers, caching.cache_ttl_s, counts, shared)
