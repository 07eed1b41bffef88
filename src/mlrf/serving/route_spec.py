"""`RouteSpec`: the declaration of an HTTP route, with its path, scope, body, heading and handler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from mlrf.serving.http.router import JSON
from mlrf.serving.route_paths import MODEL, V2_MODEL, V2_VERSION, fill
from mlrf.serving.runtime.results import Handler

OPEN = "open"
"""The scope of a route that needs no key."""
ANY = "any"
"""The scope of a route that needs a key, but accepts any."""
PREDICT, EXPLAIN = "predict", "explain"
ADMIN = "admin"
"""The scope of routes that change the server for all callers."""


class Body(StrEnum):
    """The kinds of request bodies."""

    NONE = "none"
    JSON = "JSON, plain or gzip"
    TENSORS = "JSON, followed by binary tensors"
    BATCH = "JSON or an Arrow stream, plain or gzip"
    FORM_JSON = "JSON, plain or gzip, also declared as a form"
    ROWS = "JSON, CSV or JSON lines, plain or gzip"


class Tag(StrEnum):
    """The heading of a route in the OpenAPI document."""

    PREDICTIONS = "Predictions"
    INFERENCE = "Open Inference Protocol"
    PLATFORMS = "Other platforms"
    SERVER = "Server"
    ADMIN = "Administration"


class RouteSpec(msgspec.Struct, frozen=True):
    """One method of one route.

    `path` is the template, in which `{name}` stands for the name of a model; it is also the `route` label of metrics. `handler`
    takes the current generation (models/generation.py) and the name of a model ("" if the path has none), and returns the
    handler for the public port. `admin` takes the service (models/service.py) and returns the handler for the admin listener. A
    route is served on the listeners for which it has one of the two. The methods of one path are declared together and have the
    same scope.
    """

    method: str
    path: str
    summary: str
    tag: Tag
    handler: Callable[[Any, str], Handler] | None = None
    admin: Callable[[Any, str], Handler | None] | None = None
    scope: str = ANY
    body: Body = Body.NONE
    needs_body: bool = True
    """Whether a POST must declare a body: `curl -X POST` declares none."""
    is_always_on: bool = False
    """Whether it answers even when the server is overloaded; routes with the scope `admin` always do."""
    predicts: bool = False
    """Whether its responses are predictions, which the prediction log keeps."""
    is_per_model: bool = False
    """Whether it is served under `/models/{name}` for each model, and without it for the default model."""
    needs_default: bool = False
    """Whether the path without a name needs a single model, or one that `--default` names."""
    content_type: bytes = JSON
    files: tuple[str, ...] = ()
    """The names that `{file}` in its path stands for."""

    @property
    def names_model(self) -> bool:
        """Whether its requests are for one model: by name, or the default one."""
        return self.is_per_model or "{name}" in self.path

    @property
    def templates(self) -> tuple[str, ...]:
        """Its path templates: `path`, and for a route of each model also `/models/{name}` followed by `path`."""
        return (self.path, MODEL + self.path) if self.is_per_model else (self.path,)

    @property
    def has_versions(self) -> bool:
        """Whether its path may name a version after the model."""
        return self.path.startswith(V2_MODEL)

    def paths(self, name: str, versions: Sequence[str] = (), *, is_default: bool = False) -> list[str]:
        """Return the paths for a model of this name."""
        if self.is_per_model:
            return [fill(MODEL, name=name) + self.path, *([self.path] if is_default else [])]
        path = fill(self.path, name=name, file=name)
        if not self.has_versions:
            return [path]
        rest = self.path.removeprefix(V2_MODEL)
        return [path, *(fill(V2_VERSION + rest, name=name, version=version) for version in versions)]
