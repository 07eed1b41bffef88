"""Templates of the paths of routes; `{name}` stands for the name of a model.

`routes.py` declares what each route does, and the paths of pages and of other platforms; modules that describe routes, or
create their handlers, use these constants.
"""

from __future__ import annotations

MODEL = "/models/{name}"
"""Precedes the path of a route that exists once for each model."""
PREDICT = "/predict"
PREDICT_BATCH = "/predict/batch"
EXPLAIN = "/explain"
CURVE = "/curve"

MODELS = "/models"
HEALTHZ, READYZ, METRICS = "/healthz", "/readyz", "/metrics"

V2 = "/v2"
V2_LIVE, V2_READY = V2 + "/health/live", V2 + "/health/ready"
V2_MODEL = V2 + MODEL
V2_VERSION = V2_MODEL + "/versions/{version}"
V2_MODEL_READY, V2_INFER = V2_MODEL + "/ready", V2_MODEL + "/infer"
V2_CONFIG, V2_STATS = V2_MODEL + "/config", V2_MODEL + "/stats"
V2_ALL_STATS = V2 + MODELS + "/stats"
V2_INDEX = V2 + "/repository/index"
V2_REPOSITORY_MODEL = V2 + "/repository" + MODEL
V2_LOAD, V2_UNLOAD = V2_REPOSITORY_MODEL + "/load", V2_REPOSITORY_MODEL + "/unload"

ADMIN_MODELS = "/admin" + MODELS
ADMIN_MODEL = "/admin" + MODEL
ADMIN_FEATURES = ADMIN_MODEL + "/features"
ADMIN_LOAD, ADMIN_UNLOAD = ADMIN_MODEL + "/load", ADMIN_MODEL + "/unload"


def fill(template: str, **names: str) -> str:
    """Return a template with the given names filled in: `fill(V2_VERSION, name="sales", version="3")`."""
    for parameter, name in names.items():
        template = template.replace(f"{{{parameter}}}", name)
    return template


def split_path(path: str, template: str) -> tuple[str, str]:
    """Return the value of a template's last parameter in a path, and the rest of the path from the next slash on.

    The template ends with that parameter. Both are empty for a path that does not begin like the template.
    """
    prefix = template[: template.rindex("{")]
    if not path.startswith(prefix):
        return "", ""
    name, slash, rest = path.removeprefix(prefix).partition("/")
    return name, slash + rest
