"""Paths of platforms that lead to the routes of the table: those that an operator gives, and SageMaker's for each model."""

from __future__ import annotations

from collections.abc import Sequence

from mlrf.serving.platforms.settings import PlatformSettings
from mlrf.serving.route_paths import MODEL, fill
from mlrf.serving.routes import INVOCATIONS, PING


def additional_paths(settings: PlatformSettings, models: Sequence[str]) -> dict[str, str]:
    """Return the paths, each with the path of the route that it leads to, for the served models."""
    chosen = {INVOCATIONS: settings.predict_route, PING: settings.health_route}
    found = {given: path for path, given in chosen.items() if given is not None and given != path}
    if settings.platform == "sagemaker":
        # Multi-model endpoints ask for a model so.
        found |= {path + "/invoke": path + INVOCATIONS for path in (fill(MODEL, name=name) for name in models)}
    return found
