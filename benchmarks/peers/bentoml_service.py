"""BentoML as its documentation teaches: a service class with typed methods, LightGBM's own Booster on one thread.

bentoml serve bentoml_service:Sales --working-dir benchmarks/peers
"""

import math
import os
from pathlib import Path

import bentoml
import lightgbm
from pydantic import BaseModel

MODEL = Path(os.environ["MODEL_BUNDLE"]).with_name("model.txt")


class Instance(BaseModel):
    features: list[float | None]


def row_of(features: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in features]


@bentoml.service(workers=1)
class Sales:
    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file=MODEL, params={"num_threads": 1})

    @bentoml.api(route="/predict")
    def predict(self, features: list[float | None]) -> dict[str, float]:
        return {"prediction": float(self.booster.predict([row_of(features)], num_threads=1)[0])}

    @bentoml.api(route="/predict/batch")
    def predict_batch(self, instances: list[Instance]) -> dict[str, list[float]]:
        rows = [row_of(instance.features) for instance in instances]
        return {"predictions": self.booster.predict(rows, num_threads=1).tolist()}
