"""Makes the routes of the public port and of the admin listener from the route table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from mlrf.core.errors import ModelNotFoundError
from mlrf.serving.arrow.handler import fit as arrow_fit
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import Fit, Route
from mlrf.serving.platforms.declared_form import fit as form_fit
from mlrf.serving.route_paths import MODEL, PREDICT, V2_REPOSITORY_MODEL, fill, split_path
from mlrf.serving.route_spec import ADMIN, Body, RouteSpec
from mlrf.serving.routes import ROUTES
from mlrf.serving.runtime.results import Handler
from mlrf.serving.telemetry.metric_positions import Layout
from mlrf.serving.telemetry.metrics import NO_MODEL

MakeHandler = Callable[[RouteSpec, str], Handler | None]
"""Returns the handler of a route and a model's name ("" if the path has none); None if the route is not served."""
NO_ALIASES: Mapping[str, str] = MappingProxyType({})


def public_routes(
    make: MakeHandler,
    versions: Mapping[str, Sequence[str]],
    names: Sequence[str],
    default: str,
    layout: Layout,
    aliases: Mapping[str, str] = NO_ALIASES,
    *,
    default_is_chosen: bool = True,
) -> dict[str, Route]:
    """Return the routes of the public port by path.

    `versions`: the served models, each with the names of its version in paths; `names` also has the models that may be loaded.

    `aliases`: additional paths, each with the path of the route that it leads to; a route with the same path takes precedence,
    except for `/predict`, which a platform may call its own.
    """
    routes: dict[str, Route] = {}
    for spec in ROUTES:
        # Load and unload routes also exist for models that are not served.
        for name in (names if spec.scope == ADMIN else versions) if spec.names_model else spec.files or ("",):
            handler = make(spec, name)
            for path in spec.paths(name, versions.get(name, ()), is_default=name == default):
                is_bare = spec.needs_default and path == spec.path
                chosen = _no_default_handler(path, names) if is_bare and not default_is_chosen else handler
                _add(routes, path, spec, name if spec.names_model else "", chosen, layout)
    for alias, path in aliases.items():
        if path in routes and (alias not in routes or alias == PREDICT):
            routes[alias] = routes[path]
    return routes


def _no_default_handler(path: str, names: Sequence[str]) -> Handler:
    def refuse(_body: bytes) -> bytes:
        raise ModelNotFoundError(
            f"{path} names no model: {', '.join(names)} are served and none of them is the default; send the request to "
            f"{fill(MODEL, name=names[0])}{path}, or start the server with --default {names[0]}"
        )

    return refuse


def admin_routes(make: MakeHandler, names: Sequence[str], layout: Layout) -> dict[str, Route]:
    """Return the routes of the admin listener by path, for the models of these names."""
    routes: dict[str, Route] = {}
    for spec in ROUTES:
        for name in names if spec.names_model else ("",):
            for path in spec.paths(name):
                _add(routes, path, spec, name, make(spec, name), layout)
    return routes


def repository_route(path: str, make: MakeHandler, layout: Layout) -> Route | None:
    """Return the route of a path that loads or unloads a model of any name; None for another path.

    The scope `admin` is checked before the name is looked up.
    """
    name, _ = split_path(path, V2_REPOSITORY_MODEL)
    if not name:
        return None
    for spec in ROUTES:
        if spec.path.startswith(V2_REPOSITORY_MODEL) and path in spec.paths(name):
            routes: dict[str, Route] = {}
            _add(routes, path, spec, "", make(spec, name), layout)
            return routes.get(path)
    return None


def _rest_fit(handler: Handler, head: Head, max_body_bytes: int) -> Handler | None:
    from mlrf.serving.oip.rest.infer_handler import fit  # noqa: PLC0415  as of `OnFirstUse`

    return fit(handler, head, max_body_bytes)


def _platform_fit(handler: Handler, head: Head, max_body_bytes: int) -> Handler | None:
    from mlrf.serving.platforms.invocations import fit  # noqa: PLC0415  as above

    return fit(handler, head, max_body_bytes)


_FITS: dict[Body, Fit] = {
    Body.BATCH: arrow_fit,
    Body.TENSORS: _rest_fit,
    Body.ROWS: _platform_fit,
    Body.FORM_JSON: form_fit,
}


def _add(
    routes: dict[str, Route], path: str, spec: RouteSpec, name: str, handler: Handler | None, layout: Layout
) -> None:
    """Add a method to the route of a path, if it has a handler."""
    if handler is None:
        return
    existing = routes.get(path)
    routes[path] = Route(
        number=layout.number(spec.path, name or NO_MODEL),
        label=spec.path,
        handlers={**({} if existing is None else existing.handlers), spec.method.encode(): handler},
        content_type=spec.content_type,
        always=spec.is_always_on or spec.scope == ADMIN,
        fit=_FITS.get(spec.body),
        bodiless=not spec.needs_body,
    )
