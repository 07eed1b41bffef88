"""The labels under which routes are counted, and how a route is made of one."""

from __future__ import annotations

from collections.abc import Sequence

from mlrf.serving.auth.guard import ADMIN, OPEN
from mlrf.serving.http.router import JSON, OTHER, Fit, Route
from mlrf.serving.runtime.results import Handler
from mlrf.serving.telemetry.metrics import Layout

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
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{name}",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/config",
    "/v2/models/{name}/stats",
    "/v2/models/stats",
    "/v2/repository/index",
    "/v2/repository/models/{name}/load",
    "/v2/repository/models/{name}/unload",
    "/admin/models",
    "/admin/models/{name}/features",
    "/admin/models/{name}/load",
    "/admin/models/{name}/unload",
)
"""The label of each route by its number: the template, not the path, so that a model adds no series."""
PREDICTING = ("/predict", "/predict/batch", "/explain")
"""Those that ask a model, also under its name; without one they ask the default model."""
INFERENCE = "inference.GRPCInferenceService"
GRPC_STREAM = f"/{INFERENCE}/ModelStreamInfer"
GRPC_CHECK = "/grpc.health.v1.Health/Check"
GRPC_REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
GRPC_LABELS = (
    *(
        f"/{INFERENCE}/{call}"
        for call in (
            "ServerLive",
            "ServerReady",
            "ModelReady",
            "ServerMetadata",
            "ModelMetadata",
            "ModelInfer",
            "ModelConfig",
            "ModelStatistics",
            "RepositoryIndex",
            "RepositoryModelLoad",
            "RepositoryModelUnload",
        )
    ),
    GRPC_STREAM,
    GRPC_CHECK,
    GRPC_REFLECT,
)
"""The paths of gRPC's calls, which are the routes that follow where gRPC is spoken."""
GRPC_ALWAYS = frozenset((f"/{INFERENCE}/ServerLive", f"/{INFERENCE}/ServerReady", GRPC_CHECK))
"""Those that need no key and are answered however busy the server is."""
_ALWAYS = frozenset(("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"))
"""What answers however busy the server is, beside what an admin asks."""
_BODILESS = frozenset(
    ("/v2/repository/index", *(label for label in LABELS if label.endswith(("/{name}/load", "/{name}/unload"))))
)
"""What may be asked without a body."""
_SCOPES = {
    "/predict": "predict",
    "/predict/batch": "predict",
    "/explain": "explain",
    "/healthz": OPEN,
    "/readyz": OPEN,
    **dict.fromkeys(GRPC_ALWAYS, OPEN),
    f"/{INFERENCE}/ModelInfer": "predict",
    GRPC_STREAM: "predict",
    f"/{INFERENCE}/RepositoryModelLoad": ADMIN,
    f"/{INFERENCE}/RepositoryModelUnload": ADMIN,
    "/v2/health/live": OPEN,
    "/v2/health/ready": OPEN,
    "/v2/models/{name}/infer": "predict",
    "/v2/repository/models/{name}/load": ADMIN,
    "/v2/repository/models/{name}/unload": ADMIN,
}
SCOPES: dict[int, str] = {
    number: scope
    for number, label in enumerate((*LABELS, *GRPC_LABELS))
    if (scope := ADMIN if label.startswith("/admin/") else _SCOPES.get(label)) is not None
}
"""What a key must be good for, by route number; routes without a line are for any key."""


def layout(models: Sequence[str] = (), *, grpc: bool = False) -> Layout:
    """Return the layout of a worker's counts, for the names of what is served, with gRPC's calls where it is spoken."""
    return Layout((*LABELS, *GRPC_LABELS) if grpc else LABELS, tuple(models))


def grpc_route(label: str) -> int:
    """Return the number of a call of gRPC; ValueError for none."""
    return len(LABELS) + GRPC_LABELS.index(label)


def make_route(
    label: str,
    handlers: dict[bytes, Handler],
    content_type: bytes = JSON,
    timed: dict[bytes, Handler] | None = None,
    fit: Fit | None = None,
) -> Route:
    """Return the route of a label; ValueError for one that has no number."""
    number = LABELS.index(label)
    if number == OTHER:
        raise ValueError(label)
    always = label in _ALWAYS or SCOPES.get(number) == ADMIN
    return Route(number, label, handlers, content_type, always, timed, fit, label in _BODILESS)
