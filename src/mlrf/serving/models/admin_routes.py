"""The routes of the admin listener: what an operator may ask for, and nobody who can only reach the public port.

A room adds its routes under `/admin/…` to the one `AdminRoutes` of a worker, by the label in `routes.LABELS`; those of the
protocol's repository stand here too. A handler that waits for other workers returns `Awaited`.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlrf.serving.auth.guard import ADMIN
from mlrf.serving.http.router import Route
from mlrf.serving.routes import SCOPES, make_route
from mlrf.serving.runtime.results import Handler

PREFIX = "/admin/"


class AdminRoutes:
    """What the admin listener of a worker serves."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}

    def add(self, label: str, handlers: dict[bytes, Handler], *, name: str | None = None) -> None:
        """Serve handlers by method at a label's path, `{name}` filled with a model's name; ValueError outside `PREFIX`."""
        path = label if name is None else label.replace("{name}", name)
        if not path.startswith(PREFIX) or "{" in path:
            raise ValueError(path)
        self.routes[path] = make_route(label, handlers)

    def add_routes(self, routes: Mapping[str, Route]) -> None:
        """Serve routes by path; ValueError for one that anybody may ask."""
        for path, route in routes.items():
            if SCOPES.get(route.number) != ADMIN:
                raise ValueError(path)
            self.routes[path] = route
