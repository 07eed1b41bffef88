"""MLServer's codecs: requests that it encodes, and responses that it decodes."""

from __future__ import annotations

from importlib.metadata import version

import httpx
import numpy as np
import pandas as pd
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.types import InferenceResponse, RequestOutput
from reporting import given, report

GIVEN = given()
NAME = f"mlserver {version('mlserver')} (codecs)"


def ask(request, model="sample"):
    url = f"http://{GIVEN.address}/v2/models/{model}/infer"
    answer = httpx.post(url, content=request.model_dump_json().encode(), headers={"Content-Type": "application/json"})
    answer.raise_for_status()
    return InferenceResponse.model_validate_json(answer.content)


def array(*names):
    request = NumpyRequestCodec.encode_request(np.array(GIVEN.numbers))
    request.inputs[0].name = "predict"
    request.outputs = [RequestOutput(name=name) for name in names] or None
    return request


def frame():
    return PandasCodec.encode_request(pd.DataFrame(GIVEN.records), use_bytes=False)


report(
    NAME,
    "NumpyRequestCodec",
    GIVEN.predictions,
    lambda: NumpyCodec.decode_output(ask(array()).outputs[0]).ravel().tolist(),
)
report(
    NAME, "PandasCodec", GIVEN.predictions, lambda: NumpyCodec.decode_output(ask(frame()).outputs[0]).ravel().tolist()
)
report(
    NAME,
    "predict of a classifier: the label",
    GIVEN.labels,
    lambda: list(StringCodec.decode_output(ask(array("predict"), "labels").outputs[0])),
)
report(
    NAME,
    "predict_proba of a classifier",
    GIVEN.probabilities,
    lambda: NumpyCodec.decode_output(ask(array("predict_proba"), "labels").outputs[0]).tolist(),
)
