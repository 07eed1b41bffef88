"""The serializers and deserializers of the SageMaker SDK, with the bodies sent as an endpoint sends them to its container."""

from __future__ import annotations

import io
from importlib.metadata import version

import numpy as np
import requests
from reporting import given, report
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer, JSONLinesDeserializer
from sagemaker.serializers import CSVSerializer, JSONLinesSerializer, JSONSerializer, NumpySerializer

GIVEN = given()
URL = f"http://{GIVEN.sagemaker_address}/invocations"
NAME = f"sagemaker {version('sagemaker')}"


def ask(serializer, deserializer, data):
    headers = {"Content-Type": serializer.CONTENT_TYPE, "Accept": deserializer.ACCEPT[0]}
    answer = requests.post(URL, data=serializer.serialize(data), headers=headers, timeout=10)
    answer.raise_for_status()
    return deserializer.deserialize(io.BytesIO(answer.content), answer.headers["Content-Type"])


report(
    NAME, "JSONSerializer, an array", GIVEN.predictions, lambda: ask(JSONSerializer(), JSONDeserializer(), GIVEN.rows)
)
report(
    NAME,
    "JSONSerializer, instances",
    GIVEN.predictions,
    lambda: ask(JSONSerializer(), JSONDeserializer(), {"instances": GIVEN.rows})["predictions"],
)
report(
    NAME,
    "CSVSerializer",
    GIVEN.predictions,
    lambda: [float(row[0]) for row in ask(CSVSerializer(), CSVDeserializer(), GIVEN.numbers)],
)
report(
    NAME,
    "JSONLinesSerializer",
    GIVEN.predictions,
    lambda: [each["prediction"] for each in ask(JSONLinesSerializer(), JSONLinesDeserializer(), GIVEN.rows)],
)
report(
    NAME, "NumpySerializer", GIVEN.predictions, lambda: ask(NumpySerializer(), JSONDeserializer(), np.array(GIVEN.numbers)),
    "application/x-npy may hold pickled objects, which a server must not read; 415 names the accepted types",
)  # fmt: skip
