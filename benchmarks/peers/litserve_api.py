"""LitServe as its documentation teaches: a LitAPI, LightGBM's own Booster on one thread, one process for inference, ZeroMQ
between it and the one process of the API.

MODEL_BUNDLE=bundle python benchmarks/peers/litserve_api.py PORT
"""

import os
import sys
from pathlib import Path

import lightgbm
import litserve
import numpy as np

MODEL = Path(os.environ["MODEL_BUNDLE"]).with_name("model.txt")


class Sales(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002  LitServe gives it
        self.booster = lightgbm.Booster(model_file=MODEL, params={"num_threads": 1})

    def decode_request(self, request):
        return np.array([each["features"] for each in request.get("instances", [request])], dtype=np.float64)

    def predict(self, rows):
        return self.booster.predict(rows, num_threads=1)

    def encode_response(self, predictions):
        return {"predictions": predictions.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Sales(), accelerator="cpu", fast_queue=True)
    quiet = {"log_level": "warning", "access_log": False, "generate_client_file": False}
    server.run(host="127.0.0.1", port=int(sys.argv[1]), **quiet)
