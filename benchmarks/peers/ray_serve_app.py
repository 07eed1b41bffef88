"""Ray Serve as its documentation teaches: a deployment with one replica that reads the request itself, LightGBM's own Booster
on one thread. No dashboard, no access log, and as many requests in the replica as there are connections.

MODEL_BUNDLE=bundle RAY_SERVE_THROUGHPUT_OPTIMIZED=1 python benchmarks/peers/ray_serve_app.py PORT
"""

import os
import sys
from pathlib import Path

import lightgbm
import numpy as np
import ray
from ray import serve
from starlette.requests import Request

MODEL = Path(os.environ["MODEL_BUNDLE"]).with_name("model.txt")
QUIET = {"enable_access_log": False, "log_level": "WARNING"}


@serve.deployment(num_replicas=1, max_ongoing_requests=100, logging_config=QUIET)
class Sales:
    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file=MODEL, params={"num_threads": 1})

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        body = await request.json()
        rows = np.array([each["features"] for each in body.get("instances", [body])], dtype=np.float64)
        return {"predictions": self.booster.predict(rows, num_threads=1).tolist()}


if __name__ == "__main__":
    ray.init(include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config=QUIET)
    serve.run(Sales.bind(), blocking=True)
