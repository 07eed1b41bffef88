"""Options of other platforms' routes, and the environment variables of their containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from mlrf.serving.option import Group, option

Platform = Literal["mlflow", "sagemaker", "vertex"]
VARIABLES: Mapping[str, Mapping[str, str]] = {
    "vertex": {"AIP_HTTP_PORT": "port", "AIP_PREDICT_ROUTE": "predict_route", "AIP_HEALTH_ROUTE": "health_route"},
    "sagemaker": {"SAGEMAKER_BIND_TO_PORT": "port"},
}
"""By platform: the variables that its containers get, and the option that each sets unless it is set otherwise."""


def _check_path(path: str) -> str | None:
    if not path.startswith("/") or any(character in path for character in "?# {}") or not path.isascii():
        return f"{path!r} is not an absolute path; give one such as /predictions"
    return None


class PlatformSettings(msgspec.Struct, frozen=True):
    """Which platform's rules `/invocations` follows, and where else it is served."""

    platform: Platform | None = option(
        None, "platform whose request format /invocations follows, and whose environment variables set the port and paths "
        "(default: MLflow's JSON; CSV only with a header of exactly the feature names)",
        group=Group.REQUESTS, kind=str, choices=("mlflow", "sagemaker", "vertex"),
    )  # fmt: skip
    predict_route: str | None = option(
        None, "additional path for /invocations", group=Group.REQUESTS, kind=str, metavar="PATH", check=_check_path
    )
    health_route: str | None = option(
        None, "additional path for /ping", group=Group.REQUESTS, kind=str, metavar="PATH", check=_check_path
    )
