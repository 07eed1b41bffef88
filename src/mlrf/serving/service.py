"""What one worker serves: its models behind the routes of the contract.

The routes and their numbers follow from the bundles alone, so the arbiter can lay out the control block before any model
is loaded; the models themselves are opened after the fork.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mlrf import __version__
from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError, MlrfError, ModelNotFoundError, NotReadyError
from mlrf.core.schema import Feature, clip
from mlrf.engines.choice import open_engine
from mlrf.model import Model
from mlrf.serving import docs_page, openapi
from mlrf.serving.admin import AdminRoutes
from mlrf.serving.decode import RowDecoder
from mlrf.serving.http.route import HTML, TEXT, Handler, Route
from mlrf.serving.metrics import Exposition, WorkerMeter
from mlrf.serving.predicting import Predicting
from mlrf.serving.routes import make_route
from mlrf.serving.settings import ServeSettings


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


class Service:
    """The models of one worker and the routes to them."""

    def __init__(
        self, bundles: Sequence[Bundle], settings: ServeSettings, meter: WorkerMeter, exposition: Exposition
    ) -> None:
        """Open every model; BundleError when one cannot be, EngineError when one cannot answer its example."""
        self._bundles = list(bundles)
        self._settings = settings
        self._meter = meter
        self._default = default_name(bundles, settings.default)
        self._models = {bundle.name: Model(bundle, open_engine(bundle, settings.engine)) for bundle in bundles}
        self._examples = [(m, m.schema.row(m.schema.example())) for m in self._models.values()]
        self._expected = [_bits(m.engine.margin(row)) for m, row in self._examples]
        self.draining = False
        self.routes = self._make_routes(exposition)
        self.admin = AdminRoutes()
        self.admin.add("/admin/models", {b"GET": lambda _body: msgspec.json.encode(self._versions())})

    def missing(self, path: str) -> MlrfError | None:
        """Explain a path that no route has, when it asks for a model that is not served."""
        parts = path.split("/")
        if len(parts) > 3 and parts[1] == "models" and parts[2] not in self._models:  # noqa: PLR2004  /models/{name}/…
            served = ", ".join(self._models)
            return ModelNotFoundError(
                f"no model named {clip(parts[2])!r} is served; there is {served}", model=clip(parts[2])
            )
        return None

    def _make_routes(self, exposition: Exposition) -> dict[str, Route]:
        routes: dict[str, Route] = {}
        for name, model in self._models.items():
            decoder = RowDecoder(model.schema, self._settings.leniency, self._settings.max_batch)
            predicting = Predicting(model, decoder, self._meter.count_instances, self._meter.count_explanations)
            prefixes = [f"/models/{name}"] + ([""] if name == self._default else [])
            for prefix in prefixes:
                routes[f"{prefix}/predict"] = make_route("/predict", {b"POST": predicting.one})
                routes[f"{prefix}/predict/batch"] = make_route("/predict/batch", {b"POST": predicting.many})
                routes[f"{prefix}/explain"] = make_route("/explain", {b"POST": predicting.explained})
        facts = (self._bundles, self._default, __version__, self._settings.max_batch)
        routes["/models"] = make_route("/models", {b"GET": _constant(lambda: msgspec.json.encode(self._describe()))})
        routes["/healthz"] = make_route("/healthz", {b"GET": lambda _body: b'{"status":"alive"}'})
        routes["/readyz"] = make_route("/readyz", {b"GET": self._ready})
        routes["/metrics"] = make_route("/metrics", {b"GET": lambda _body: exposition.text()}, TEXT)
        described = _constant(lambda: msgspec.json.encode(openapi.document(*facts)))
        routes["/openapi.json"] = make_route("/openapi.json", {b"GET": described})
        routes["/docs"] = make_route("/docs", {b"GET": _constant(lambda: docs_page.page(*facts))}, HTML)
        return routes

    def _ready(self, _body: bytes) -> bytes:
        if self.draining:
            raise NotReadyError("the server is shutting down")
        for (model, row), expected in zip(self._examples, self._expected, strict=True):
            if _bits(model.engine.margin(row)) != expected:
                raise NotReadyError(f"the model {model.name} does not repeat its own answer")
        return b'{"status":"ready"}'

    def _versions(self) -> dict[str, Any]:
        return {
            "models": [{"name": b.name, "version": b.short_version, "digest": b.version} for b in self._bundles],
            "default": self._default,
        }

    def _describe(self) -> dict[str, Any]:
        return {"models": [_described(b, self._models[b.name]) for b in self._bundles], "default": self._default}


def _constant(make: Callable[[], bytes]) -> Handler:
    """Return a handler of a document that never changes, made when first asked for."""
    made: list[bytes] = []

    def answer(_body: bytes) -> bytes:
        if not made:
            made.append(make())
        return made[0]

    return answer


def _bits(margins: Sequence[float]) -> tuple[float | str, ...]:
    return tuple("nan" if math.isnan(m) else m for m in margins)


def _described(bundle: Bundle, model: Model) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": bundle.name,
        "version": bundle.short_version,
        "digest": bundle.version,
        "task": manifest.task,
        "objective": manifest.objective,
        "classes": manifest.classes,
        "engine": model.engine.name,
        "features": [_feature(f) for f in bundle.schema.features],
    }


def _feature(feature: Feature) -> dict[str, Any]:
    described: dict[str, Any] = {"name": feature.name, "kind": feature.kind.value, "nullable": feature.nullable}
    if feature.categories is not None:
        described["categories"] = list(feature.categories)
    return described
