"""What is declared of an HTTP route: scope, body, heading, paths and how its handler is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlrf.serving.http.router import JSON
from mlrf.serving.route_paths import MODEL, V2_MODEL, V2_VERSION, fill
from mlrf.serving.runtime.results import Handler

OPEN = "open"
"""The scope of what needs no key."""
ANY = "any"
"""The scope of what needs a key, whatever its scopes."""
PREDICT, EXPLAIN = "predict", "explain"
ADMIN = "admin"
"""The scope of what changes the server for everybody."""


class Body(StrEnum):
    """What the body of a request holds."""

    NONE = "none"
    JSON = "JSON, plain or gzip"
    TENSORS = "JSON, and behind it binary tensors"
    BATCH = "JSON or an Arrow stream, plain or gzip"
    ROWS = "JSON, CSV or JSON lines, plain or gzip"


class Tag(StrEnum):
    """The heading of a route in the OpenAPI document."""

    PREDICTIONS = "Predictions"
    INFERENCE = "Open Inference Protocol"
    PLATFORMS = "Other platforms"
    SERVER = "Server"
    ADMIN = "Administration"


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One method of one route.

    `path` is the template, `{name}` the name of a model, and the `route` label of metrics. `handler` makes the handler of the
    public port from the generation that is served (models/generation.py) and the name of a model ("" where the path has none),
    `admin` that of the admin listener from the service (models/service.py); a route is served where it has one. The methods of
    one path stand together and share their scope.
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
    """Whether it answers however busy the server is; what needs the scope `admin` does so too."""
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
        """Its templates: the path, and below that of a model if each model has one."""
        return (self.path, MODEL + self.path) if self.is_per_model else (self.path,)

    @property
    def has_versions(self) -> bool:
        """Whether its path may name a version behind the model."""
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
