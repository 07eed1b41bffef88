"""A closed loop of checked requests in a separate thread, by the load generator of `mlrf.demo.load_generator`."""

from __future__ import annotations

import json

from bundles import ALL_KINDS, margins_of
from mlrf.demo.load_generator.background_load import BackgroundLoad
from mlrf.demo.load_generator.http_connection import Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from raw_http import request

BODY = {"features": ALL_KINDS.example()}
PREDICTION = margins_of(ALL_KINDS.row(ALL_KINDS.example()))[0]
LOST = {"connection lost", "idle connection lost"}
"""Errors of connections that ended without `Connection: close` before."""


def closed_load(
    port: int, n: int, pause_s: float = 0.005, *, content: object = BODY, expected: float = PREDICTION
) -> BackgroundLoad:
    """`n` clients, each with one connection and one request at a time, that expect one prediction."""

    def judge(_number: int, _elapsed_s: float, response: Response) -> str | None:
        if response.status == 200 and json.loads(response.body)["prediction"] == expected:
            return None
        return f"wrong: {response.status} {response.body[:100]!r}"

    plan = LoadPlan("127.0.0.1", port, [request("POST", "/predict", content)], n, pause_s=pause_s)
    return BackgroundLoad(plan, judge)
