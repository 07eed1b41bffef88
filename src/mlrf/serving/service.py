"""What one worker serves: a generation of models behind the routes of the contract, replaced as a whole.

A generation never changes. Taking another version into service makes the next generation of it and what else is served;
requests under way keep the one they began with, and with the last of them it goes. The routes' labels follow from the contract
alone, so the arbiter can lay out the control block before any model is loaded; models are opened after the fork.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from mlrf import __version__
from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError, FeaturesUnavailableError, MlrfError, ModelNotFoundError, NotReadyError
from mlrf.core.schema import clip
from mlrf.serving.admin import AdminRoutes
from mlrf.serving.api import docs_page, openapi
from mlrf.serving.api.pushing import Pushing
from mlrf.serving.cache.answers import AnswerCache, CacheCounts
from mlrf.serving.http.route import HTML, TEXT, Awaited, Handler, Route, Router
from mlrf.serving.inference.plane import DataPlane
from mlrf.serving.rest.routes import rest_routes
from mlrf.serving.routes import make_route
from mlrf.serving.served import Served
from mlrf.serving.settings import ServeSettings
from mlrf.serving.sight.exposition import Exposition
from mlrf.serving.sight.metrics import WorkerMeter
from mlrf.serving.sight.stages import Stages


def default_name(bundles: Sequence[Bundle], asked: str | None) -> str:
    """Return the model that routes without a name ask; ConfigError when it is not served or two share a name."""
    names = [bundle.name for bundle in bundles]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two bundles are named {name!r}; build one of them under another --name", option="BUNDLE"
            )
    if asked is None:
        return names[0]
    if asked not in names:
        raise ConfigError(f"--default: no bundle is named {asked!r}; served are {', '.join(names)}", option="--default")
    return asked


class Generation:
    """The versions of all models that are served at one time, and the routes to them."""

    def __init__(
        self,
        served: Sequence[Served],
        default: str,
        settings: ServeSettings,
        exposition: Exposition,
        check_serving: Callable[[], None],
    ) -> None:
        """Make the routes; `check_serving` raises NotReadyError while the worker is to get no more requests."""
        self._served = {each.name: each for each in served}
        self._default = default
        self._check_serving = check_serving
        self._settings = settings
        self.plane = DataPlane([each.described for each in served], check_serving, __version__)
        """What the Open Inference Protocol asks, over whichever transport."""
        self.routes = self._make_routes(exposition)

    @property
    def served(self) -> list[Served]:
        """What is served, in the order of the command line."""
        return list(self._served.values())

    def of(self, name: str) -> Served:
        """Return what is served under a name."""
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

    def _missing(self, path: str) -> MlrfError | None:
        """Explain a path that no route has, when it asks for a model that is not served."""
        parts = path.split("/")
        if len(parts) > 3 and parts[1] == "models" and parts[2] not in self._served:  # noqa: PLR2004  /models/{name}/…
            names = ", ".join(self._served)
            return ModelNotFoundError(
                f"no model named {clip(parts[2])!r} is served; there is {names}", model=clip(parts[2])
            )
        if len(parts) > 3 and parts[1:3] == ["v2", "models"]:  # noqa: PLR2004  /v2/models/{name}…
            version = parts[5] if len(parts) > 5 and parts[4] == "versions" else ""  # noqa: PLR2004
            try:
                self.plane.find(parts[3], version)
            except ModelNotFoundError as error:
                return error
        return None

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
        facts = ([each.bundle for each in self.served], self._default, __version__, self._settings.max_batch)
        routes["/models"] = make_route("/models", {b"GET": _constant(lambda: msgspec.json.encode(self._describe()))})
        routes["/healthz"] = make_route("/healthz", {b"GET": lambda _body: b'{"status":"alive"}'})
        routes["/readyz"] = make_route("/readyz", {b"GET": self._ready})
        routes["/metrics"] = make_route("/metrics", {b"GET": lambda _body: exposition.text()}, TEXT)
        contract = _constant(lambda: msgspec.json.encode(openapi.document(*facts)))
        routes["/openapi.json"] = make_route("/openapi.json", {b"GET": contract})
        routes["/docs"] = make_route("/docs", {b"GET": _constant(lambda: docs_page.page(*facts))}, HTML)
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


class Service:
    """What a worker serves now, and the way to serve something else."""

    def __init__(
        self,
        bundles: Sequence[Bundle],
        settings: ServeSettings,
        meter: WorkerMeter,
        exposition: Exposition,
        stages: Stages | None = None,
        numbers: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Open every model; BundleError when one cannot be, EngineError when one cannot answer its example.

        `numbers` tell the versions of models from a repository, by name.
        """
        self._settings = settings
        self._meter = meter
        self._stages = stages
        self._exposition = exposition
        self._default = default_name(bundles, settings.default)
        self._cache = _cache(settings, meter)
        self.draining = False
        self.generation = self._next([self.open(bundle, numbers.get(bundle.name, 1)) for bundle in bundles])
        self.admin = AdminRoutes()
        self.admin.add("/admin/models", {b"GET": lambda _body: msgspec.json.encode(self._versions())})
        pushing = Pushing(lambda name: self.generation.of(name).rows)
        for bundle in bundles:
            self.admin.add("/admin/models/{name}/features", pushing.handlers(bundle.name), name=bundle.name)

    @property
    def routes(self) -> dict[str, Route]:
        """The routes of what is served now."""
        return self.generation.routes

    @property
    def plane(self) -> DataPlane:
        """The data plane of what is served now."""
        return self.generation.plane

    def open(self, bundle: Bundle, number: int = 1) -> Served:
        """Open a version beside those that are served; from any thread, and nobody notices."""
        total = self._exposition.total
        return Served(bundle, self._settings, self._meter, self._cache, self._stages, number=number, total=total)

    async def connect(self, limit_s: float) -> None:
        """Reach the stores that machines share ahead of the first request, as far as the limit allows."""
        rows = [each.rows for each in self.generation.served if each.rows is not None]
        await asyncio.gather(*(each.connect(limit_s) for each in rows))

    def put(self, served: Served) -> Generation:
        """Make the next generation, with a version in the place of its model's old one, and return the old generation.

        The caller has the next requests find the new one, then releases the old one.
        """
        old = self.generation
        # Before the next request can ask for them. What is being made of the old version is answered, and not kept.
        old.of(served.name).forget_answers()
        self.generation = self._next([served if each.name == served.name else each for each in old.served])
        return old

    def _next(self, served: Sequence[Served]) -> Generation:
        bundles = [each.bundle for each in served]
        self._exposition.set_bundles([{"model": b.name, "version": b.short_version} for b in bundles])
        return Generation(served, self._default, self._settings, self._exposition, self.check_serving)

    def check_serving(self) -> None:
        """Raise NotReadyError while this worker is to get no more requests."""
        if self.draining:
            raise NotReadyError("the server is shutting down")

    def _versions(self) -> dict[str, Any]:
        versions = [(each.name, each.bundle) for each in self.generation.served]
        return {
            "models": [{"name": name, "version": b.short_version, "digest": b.version} for name, b in versions],
            "default": self._default,
        }


def _cache(settings: ServeSettings, meter: WorkerMeter) -> AnswerCache | None:
    """Return this worker's part of the server's cache; None when there is none."""
    caching = settings.caching
    if not caching.size_bytes:
        return None
    counts = CacheCounts(
        hits=meter.counter("mlrf_cache_hits_total"),
        misses=meter.counter("mlrf_cache_misses_total"),
        evictions=meter.counter("mlrf_cache_evictions_total"),
        set_bytes=meter.gauge("mlrf_cache_bytes"),
    )
    shared = None
    if caching.shared_cache is not None:
        from mlrf.serving.cache.shared import SharedCache, SharedCounts  # noqa: PLC0415  most servers have none

        shared = SharedCache(
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


def _constant(make: Callable[[], bytes]) -> Handler:
    """Return a handler of a document that never changes, made when first asked for."""
    made: list[bytes] = []

    def answer(_body: bytes) -> bytes:
        if not made:
            made.append(make())
        return made[0]

    return answer
