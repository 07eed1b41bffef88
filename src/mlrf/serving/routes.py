"""The labels under which routes are counted, and how a route is made of one."""

from __future__ import annotations

from mlrf.serving.access.guard import OPEN
from mlrf.serving.http.route import JSON, OTHER, Handler, Route
from mlrf.serving.sight.metrics import Layout

LABELS = (
    "other",
    "/predict",
    "/predict/batch",
    "/explain",
    "/models",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/admin/models",
    "/admin/models/{name}/features",
    "/admin/models/{name}/load",
)
"""The label of each route by its number: the template, not the path, so that a model adds no series."""
_ALWAYS = frozenset(("/healthz", "/readyz", "/metrics"))
"""What answers however busy the server is."""
_SCOPES = {
    "/predict": "predict",
    "/predict/batch": "predict",
    "/explain": "explain",
    "/healthz": OPEN,
    "/readyz": OPEN,
}
SCOPES: dict[int, str] = {
    number: scope
    for number, label in enumerate(LABELS)
    if (scope := "admin" if label.startswith("/admin/") else _SCOPES.get(label)) is not None
}
"""What a key must be good for, by route number; routes without a line are for any key."""


def layout() -> Layout:
    """Return the layout of a worker's counts."""
    return Layout(LABELS)


def make_route(
    label: str, handlers: dict[bytes, Handler], content_type: bytes = JSON, timed: dict[bytes, Handler] | None = None
) -> Route:
    """Return the route of a label; ValueError for one that has no number."""
    number = LABELS.index(label)
    if number == OTHER:
        raise ValueError(label)
    always = label in _ALWAYS or label.startswith("/admin/")
    return Route(number, label, handlers, content_type, always, timed)
