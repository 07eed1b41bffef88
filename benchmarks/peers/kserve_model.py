"""KServe's Python server as its documentation teaches: a Model behind ModelServer, LightGBM's own Booster on one thread, and
protocol V1.

MODEL_BUNDLE=bundle python benchmarks/peers/kserve_model.py PORT
"""

import os
import sys
from pathlib import Path

import kserve
import lightgbm
import numpy as np

MODEL = Path(os.environ["MODEL_BUNDLE"]).with_name("model.txt")


class Sales(kserve.Model):
    def load(self) -> bool:
        self.booster = lightgbm.Booster(model_file=MODEL, params={"num_threads": 1})
        self.ready = True
        return self.ready

    async def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002  KServe gives them
        rows = np.array(payload["instances"], dtype=np.float64)
        return {"predictions": self.booster.predict(rows, num_threads=1).tolist()}


if __name__ == "__main__":
    model = Sales("sales")
    model.load()
    server = kserve.ModelServer(http_port=int(sys.argv[1]), workers=1, enable_grpc=False, enable_latency_logging=False)
    server.start([model])
