"""The peer: the same bundle's `model.onnx` behind FastAPI, written as its documentation teaches, with tuning that costs
nothing.

uvicorn on uvloop and httptools without an access log; `async def`, because a change of thread costs more than the model; ONNX
Runtime on one thread; pydantic checks names, types and categories; FastAPI serialises the declared answer in pydantic's Rust.
It imports nothing of mlrf.

    MODEL_BUNDLE=bundle uvicorn --app-dir benchmarks/peers fastapi_onnxruntime:app --loop uvloop --http httptools
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, create_model

BUNDLE = Path(os.environ["MODEL_BUNDLE"])
MAX_INSTANCES = 100

schema = json.loads((BUNDLE / "schema.json").read_bytes())
manifest = (BUNDLE / "manifest.json").read_bytes()
MODEL = json.loads(manifest)["name"]
VERSION = hashlib.sha256(manifest).hexdigest()[:12]
NAMES: list[str] = schema["x-mlrf-order"]
CODES = {
    position: {None: None}
    | {category: code for code, category in enumerate(filter(None, schema["properties"][name]["enum"]))}
    for position, name in enumerate(NAMES)
    if "enum" in schema["properties"][name]
}

options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(BUNDLE / "model.onnx", options, providers=["CPUExecutionProvider"])

Finite = Annotated[float, Field(allow_inf_nan=False)]


def named_type(position: int) -> object:
    return Literal[tuple(CODES[position])] if position in CODES else Finite | None


def positional_type(position: int) -> object:
    return Annotated[int, Field(ge=0, lt=len(CODES[position]) - 1)] | None if position in CODES else Finite | None


# Fields are numbered, because a feature's name may not be a Python identifier.
NamedFeatures = create_model(
    "NamedFeatures",
    __config__=ConfigDict(extra="forbid"),
    **{f"f{i}": (named_type(i), Field(alias=name)) for i, name in enumerate(NAMES)},
)
PositionalFeatures = tuple[tuple(positional_type(i) for i in range(len(NAMES)))]


class Instance(BaseModel):
    model_config = ConfigDict(extra="forbid")
    features: NamedFeatures | PositionalFeatures


class Batch(BaseModel):
    model_config = ConfigDict(extra="forbid")
    instances: list[Instance] = Field(min_length=1, max_length=MAX_INSTANCES)


class Answer(BaseModel):
    prediction: float | list[float]
    model: str
    version: str
    cached: bool


class BatchAnswer(BaseModel):
    predictions: list[float] | list[list[float]]
    model: str
    version: str


app = FastAPI()


@app.post("/predict")
async def predict(body: Instance) -> Answer:
    prediction = predictions_of([row_of(body)])[0]
    return Answer(prediction=prediction, model=MODEL, version=VERSION, cached=False)


@app.post("/predict/batch")
async def predict_batch(body: Batch) -> BatchAnswer:
    predictions = predictions_of([row_of(instance) for instance in body.instances])
    return BatchAnswer(predictions=predictions, model=MODEL, version=VERSION)


def row_of(instance: Instance) -> Iterable[float | None]:
    features = instance.features
    if isinstance(features, tuple):
        return features
    row = list(features.__dict__.values())
    for position, codes in CODES.items():
        row[position] = codes[row[position]]
    return row


def predictions_of(rows: list[Iterable[float | None]]) -> list[float] | list[list[float]]:
    # NumPy reads None as NaN if the dtype is given.
    (predictions,) = session.run(["prediction"], {"features": np.array(rows, dtype=np.float64)})
    return predictions[:, 0].tolist() if predictions.shape[1] == 1 else predictions.tolist()
