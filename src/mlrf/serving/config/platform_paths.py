"""Checks the paths that an operator gives to the routes of a platform."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrf.core.errors import ConfigError
from mlrf.serving.platforms.settings import PlatformSettings
from mlrf.serving.route_paths import PREDICT

if TYPE_CHECKING:
    from mlrf.serving.route_spec import RouteSpec


def check_platform_paths(settings: PlatformSettings) -> None:
    """Raise ConfigError for a path that belongs to another route with other answers."""
    for option, path in (("--predict-route", settings.predict_route), ("--health-route", settings.health_route)):
        spec = None if path is None else _route_of(path)
        if spec is None:
            continue
        from mlrf.serving.routes import V1_PREDICT  # noqa: PLC0415  as in `_route_of`

        # Vertex AI's own SDK calls it /predict, unless its caller names another path.
        taken_over = (V1_PREDICT,) if settings.platform is None else (V1_PREDICT, PREDICT)
        if spec.is_always_on if option == "--health-route" else spec.path in taken_over:
            continue
        raise ConfigError(
            f"{option}: {path} is already used by another route ({spec.summary}); choose a path such as /platform/predict",
            option=option,
        )


def _route_of(path: str) -> RouteSpec | None:
    from mlrf.serving.routes import ROUTES  # noqa: PLC0415  most servers add no path

    for spec in ROUTES:
        for template in spec.templates:
            pattern = "[^/:]+".join(map(re.escape, template.split("{name}")))
            if spec.handler is not None and re.fullmatch(pattern, path):
                return spec
    return None
