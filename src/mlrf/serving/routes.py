"""The route table: every HTTP route and every gRPC call of a server, declared once.

A new route is a line of ROUTES, with its path; a path to which other modules refer is a constant here, or in route_paths.py if
a package below this module needs it. A page is a module of pages/, which `g.page` names. The router, access rules, both parts
of the OpenAPI document, the page at /docs and the labels of metrics follow from it; a test compares docs/reference/routes.md.

Other paths to the same routes are ALIASES, and for platforms `additional_paths` of platforms/additional_paths.py.
gRPC calls are the lines of GRPC_CALLS; oip/grpc/inference_calls.py answers them by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from mlrf.serving import route_paths as paths
from mlrf.serving.http.router import HTML, PLAIN, TEXT
from mlrf.serving.route_spec import ADMIN, ANY, EXPLAIN, OPEN, PREDICT, Body, RouteSpec, Tag
from mlrf.serving.telemetry.metric_positions import Layout
from mlrf.serving.telemetry.metrics import NO_MODEL
from mlrf.workbench.files import CONTENT_TYPES, INDEX

DOCS, DOCS_MODELS = "/docs", "/docs/models"
V1_MODELS, V1_MODEL = "/v1" + paths.MODELS, "/v1" + paths.MODEL
V1_PREDICT, V1_EXPLAIN = V1_MODEL + ":predict", V1_MODEL + ":explain"
INVOCATIONS, PING, HEALTH, VERSION = "/invocations", "/ping", "/health", "/version"
"""Paths of pages and of other platforms to which other modules refer."""
ICON = b"image/x-icon"
ANY_TEXT = b"text/*"
"""Of routes whose responses carry their own content type."""
ALIASES: Mapping[str, str] = MappingProxyType({"/": DOCS, f"{paths.V2}/": paths.V2})
"""Other paths, with the route that each leads to. Some clients write the metadata's path with a slash, the specification does
without."""

ROUTES: tuple[RouteSpec, ...] = (
    RouteSpec(
        "POST", paths.PREDICT, "Predict one instance", Tag.PREDICTIONS, lambda g, name: g.of(name).handlers[paths.PREDICT],
        scope=PREDICT, body=Body.JSON, predicts=True, is_per_model=True,
    ),
    RouteSpec(
        "POST", paths.PREDICT_BATCH, "Predict several instances", Tag.PREDICTIONS,
        lambda g, name: g.of(name).batch,
        scope=PREDICT, body=Body.BATCH, predicts=True, is_per_model=True,
    ),
    RouteSpec(
        "POST", paths.EXPLAIN, "Predict and explain one instance", Tag.PREDICTIONS,
        lambda g, name: g.of(name).handlers[paths.EXPLAIN],
        scope=EXPLAIN, body=Body.JSON, predicts=True, is_per_model=True,
    ),
    RouteSpec(
        "POST", paths.CURVE, "Predict one instance while one or two of its features take every value", Tag.PREDICTIONS,
        lambda g, name: g.of(name).handlers[paths.CURVE], scope=PREDICT, body=Body.JSON, is_per_model=True,
    ),
    RouteSpec("GET", paths.MODELS, "The served models and their features", Tag.PREDICTIONS, lambda g, _: g.models),
    RouteSpec(
        "GET", paths.HEALTHZ, "Whether the process is alive", Tag.SERVER, lambda g, _: g.alive, scope=OPEN, is_always_on=True
    ),
    RouteSpec(
        "GET", paths.READYZ, "Whether the server can answer now", Tag.SERVER, lambda g, _: g.ready,
        scope=OPEN, is_always_on=True,
    ),
    RouteSpec(
        "GET", paths.METRICS, "Metrics in Prometheus text format", Tag.SERVER, lambda g, _: g.metrics,
        is_always_on=True, content_type=TEXT,
    ),
    RouteSpec("GET", "/openapi.json", "The OpenAPI document of these routes", Tag.SERVER, lambda g, _: g.page("openapi")),
    RouteSpec(
        "GET", DOCS, "These routes as a page, with an example for each model", Tag.SERVER, lambda g, _: g.page("docs"),
        scope=OPEN, content_type=HTML,
    ),
    RouteSpec(
        "GET", DOCS_MODELS, "The part of that page about the models", Tag.SERVER, lambda g, _: g.page("docs_models"),
        content_type=HTML,
    ),
    RouteSpec(
        "GET", "/favicon.ico", "The icon of that page", Tag.SERVER, lambda g, _: g.page("icon"), scope=OPEN, content_type=ICON
    ),
    RouteSpec(
        "GET", "/ui", "A page to ask a model, see why it answers so, and try what would change it", Tag.SERVER,
        lambda g, _: g.page_file(INDEX), scope=OPEN, content_type=HTML,
    ),
    RouteSpec(
        "GET", "/ui/{file}", "The files of that page", Tag.SERVER, lambda g, file: g.page_file(file),
        scope=OPEN, files=tuple(CONTENT_TYPES), content_type=ANY_TEXT,
    ),
    RouteSpec("GET", paths.V2, "The server, and its extensions", Tag.INFERENCE, lambda g, _: g.rest.server_metadata),
    RouteSpec(
        "GET", paths.V2_LIVE, "Whether the process is alive", Tag.INFERENCE, lambda g, _: g.rest.live,
        scope=OPEN, is_always_on=True,
    ),
    RouteSpec(
        "GET", paths.V2_READY, "Whether the server can answer now", Tag.INFERENCE, lambda g, _: g.rest.ready,
        scope=OPEN, is_always_on=True,
    ),
    RouteSpec(
        "GET", paths.V2_MODEL, "Inputs and outputs of the model", Tag.INFERENCE,
        lambda g, name: g.rest.model_metadata(name),
    ),
    RouteSpec(
        "GET", paths.V2_MODEL_READY, "Whether the model answers", Tag.INFERENCE, lambda g, name: g.rest.model_ready(name)
    ),
    RouteSpec(
        "POST", paths.V2_INFER, "Tensors to tensors, in JSON or binary", Tag.INFERENCE,
        lambda g, name: g.rest.infer(name), scope=PREDICT, body=Body.TENSORS, predicts=True,
    ),
    RouteSpec(
        "GET", paths.V2_CONFIG, "The model's configuration, in Triton's terms", Tag.INFERENCE,
        lambda g, name: g.rest.model_config(name),
    ),
    RouteSpec(
        "GET", paths.V2_STATS, "Statistics of the model", Tag.INFERENCE,
        lambda g, name: g.rest.model_statistics(name),
    ),
    RouteSpec("GET", paths.V2_ALL_STATS, "Statistics of all models", Tag.INFERENCE, lambda g, _: g.rest.statistics),
    RouteSpec(
        "POST", paths.V2_INDEX, "The models and their states", Tag.INFERENCE, lambda g, _: g.rest.index,
        body=Body.TENSORS, needs_body=False,
    ),
    RouteSpec(
        "POST", paths.V2_LOAD, "Put the model's current version into service, in every worker",
        Tag.INFERENCE, lambda g, name: g.rest.load(name), lambda service, name: service.rest.load(name),
        scope=ADMIN, body=Body.TENSORS, needs_body=False,
    ),
    RouteSpec(
        "POST", paths.V2_UNLOAD,
        "Take the model out of service, in every worker, until it is loaded again",
        Tag.INFERENCE, lambda g, name: g.rest.unload(name), lambda service, name: service.rest.unload(name),
        scope=ADMIN, body=Body.TENSORS, needs_body=False,
    ),
    RouteSpec(
        "GET", V1_MODELS, "The names of the served models (KServe v1)", Tag.PLATFORMS, lambda g, _: g.model_names
    ),
    RouteSpec(
        "GET", V1_MODEL, "Whether the model answers (KServe v1)", Tag.PLATFORMS, lambda g, name: g.rest.model_ready(name)
    ),
    RouteSpec(
        "POST", V1_PREDICT, "Predict several instances (KServe v1, Vertex AI)", Tag.PLATFORMS,
        lambda g, name: g.of(name).platforms.handler("kserve_v1", "predict"), scope=PREDICT, body=Body.FORM_JSON, predicts=True,
    ),
    RouteSpec(
        "POST", V1_EXPLAIN, "Predict and explain several instances (KServe v1)", Tag.PLATFORMS,
        lambda g, name: g.of(name).platforms.handler("kserve_v1", "explain"), scope=EXPLAIN, body=Body.FORM_JSON, predicts=True,
    ),
    RouteSpec(
        "POST", INVOCATIONS, "Predict several rows (MLflow, SageMaker)", Tag.PLATFORMS,
        lambda g, name: g.of(name).platforms.handler("invocations", "invocations"),
        scope=PREDICT, body=Body.ROWS, predicts=True, is_per_model=True, needs_default=True,
    ),
    RouteSpec(
        "GET", PING, "Whether the server can answer now (MLflow, SageMaker)", Tag.PLATFORMS, lambda g, _: g.ready,
        scope=OPEN, is_always_on=True,
    ),
    RouteSpec(
        "GET", HEALTH, "The same as /ping (MLflow)", Tag.PLATFORMS, lambda g, _: g.ready, scope=OPEN, is_always_on=True
    ),
    RouteSpec(
        "GET", VERSION, "The version of the server (MLflow)", Tag.PLATFORMS, lambda g, _: g.version,
        scope=OPEN, is_always_on=True, content_type=PLAIN,
    ),
    RouteSpec(
        "GET", paths.ADMIN_MODELS, "Name, version and digest of each served model", Tag.ADMIN,
        admin=lambda service, _: service.versions, scope=ADMIN,
    ),
    RouteSpec(
        "POST", paths.ADMIN_FEATURES, "Insert or replace rows by key", Tag.ADMIN,
        admin=lambda service, name: service.push_handler.push(name), scope=ADMIN, body=Body.JSON,
    ),
    RouteSpec(
        "GET", paths.ADMIN_FEATURES, "How many rows by key there are", Tag.ADMIN,
        admin=lambda service, name: service.push_handler.statistics(name), scope=ADMIN,
    ),
    RouteSpec(
        "POST", paths.ADMIN_LOAD, "Put a version into service, in every worker", Tag.ADMIN,
        admin=lambda service, name: service.load_handler(name), scope=ADMIN, body=Body.JSON, needs_body=False,
    ),
    RouteSpec(
        "POST", paths.ADMIN_UNLOAD, "Take the model out of service, in every worker, until it is loaded again",
        Tag.ADMIN, admin=lambda service, name: service.unload_handler(name),
        scope=ADMIN, body=Body.JSON, needs_body=False,
    ),
)  # fmt: skip


class GrpcCall(msgspec.Struct, frozen=True):
    """One gRPC call; `path` is the `route` label of metrics."""

    path: str
    scope: str = ANY
    is_always_on: bool = False
    predicts: bool = False
    """Whether its messages name a model, and its responses are predictions."""


INFERENCE = "inference.GRPCInferenceService"
GRPC_STREAM = f"/{INFERENCE}/ModelStreamInfer"
GRPC_CHECK = "/grpc.health.v1.Health/Check"
GRPC_LIST = "/grpc.health.v1.Health/List"
GRPC_REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
GRPC_CALLS: tuple[GrpcCall, ...] = (
    GrpcCall(f"/{INFERENCE}/ServerLive", OPEN, is_always_on=True),
    GrpcCall(f"/{INFERENCE}/ServerReady", OPEN, is_always_on=True),
    GrpcCall(f"/{INFERENCE}/ModelReady"),
    GrpcCall(f"/{INFERENCE}/ServerMetadata"),
    GrpcCall(f"/{INFERENCE}/ModelMetadata"),
    GrpcCall(f"/{INFERENCE}/ModelInfer", PREDICT, predicts=True),
    GrpcCall(f"/{INFERENCE}/ModelConfig"),
    GrpcCall(f"/{INFERENCE}/ModelStatistics"),
    GrpcCall(f"/{INFERENCE}/RepositoryIndex"),
    GrpcCall(f"/{INFERENCE}/RepositoryModelLoad", ADMIN),
    GrpcCall(f"/{INFERENCE}/RepositoryModelUnload", ADMIN),
    GrpcCall(GRPC_STREAM, PREDICT, predicts=True),
    GrpcCall(GRPC_CHECK, OPEN, is_always_on=True),
    GrpcCall(GRPC_LIST, OPEN, is_always_on=True),
    GrpcCall(GRPC_REFLECT),
)
OTHER = "other"
"""The label of requests to no route."""


def route_labels(*, grpc: bool = True) -> tuple[str, ...]:
    """Return the `route` labels: the templates, in the order of the tables."""
    calls = GRPC_CALLS if grpc else ()
    return tuple(dict.fromkeys((OTHER, *(each.path for each in ROUTES), *(each.path for each in calls))))


def layout(models: Sequence[str] = (), *, grpc: bool = False) -> Layout:
    """Return the layout of a worker's counts for the served models, with the calls of gRPC if `grpc`."""
    name_a_model = {each.path for each in ROUTES if each.names_model} | {
        each.path for each in GRPC_CALLS if each.predicts
    }
    known = route_labels(grpc=grpc)
    by_model = [(label, model) for model in models for label in known if label in name_a_model]
    return Layout((*((label, NO_MODEL) for label in known), *by_model), tuple(models))


def scopes(routes: Sequence[tuple[str, str]]) -> dict[int, str]:
    """Return the scope that a key needs for each route, by its number in a layout."""
    by_label = {each.path: each.scope for each in ROUTES} | {each.path: each.scope for each in GRPC_CALLS}
    return {number: by_label.get(label, ANY) for number, (label, _model) in enumerate(routes)}


def prediction_labels() -> frozenset[str]:
    """Return the labels of the routes and calls whose responses are predictions."""
    routes = {each.path for each in ROUTES if each.predicts}
    return frozenset(routes | {each.path for each in GRPC_CALLS if each.predicts})
