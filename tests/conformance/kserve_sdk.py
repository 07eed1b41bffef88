"""The KServe SDK: v1, v2 over REST, v2 over gRPC; and plain HTTP clients."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import httpx
import requests
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from reporting import given, report

GIVEN = given()
NAME = f"kserve {version('kserve')}"
URL = f"http://{GIVEN.address}"


async def v1(model, body):
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    answer = await client.infer(URL, body, model_name=model)
    await client.close()
    return answer["predictions"]


async def explained():
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    answer = await client.explain(URL, "sample", {"instances": GIVEN.records})
    await client.close()
    return [each["margin"] for each in answer["explanations"]]


def request(model):
    flat = [value for row in GIVEN.numbers for value in row]
    tensor = InferInput("input-0", [len(GIVEN.numbers), len(GIVEN.numbers[0])], "FP64", data=flat)
    return InferRequest(model, [tensor])


async def v2(model):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    answer = await client.infer(URL, request(model), model_name=model)
    await client.close()
    return list(answer.outputs[0].data)


async def over_grpc(model):
    async with InferenceGRPCClient(GIVEN.grpc_address, retries=0) as client:
        answer = await client.infer(request(model))
        return [each.decode() if isinstance(each, bytes) else each for each in answer.outputs[0].data]


report(
    f"{NAME} (v1)",
    "infer, instances by name",
    GIVEN.predictions,
    lambda: asyncio.run(v1("sample", {"instances": GIVEN.records})),
)
report(
    f"{NAME} (v1)",
    "infer, instances by position",
    GIVEN.predictions,
    lambda: asyncio.run(v1("sample", {"instances": GIVEN.rows})),
)
report(
    f"{NAME} (v1)", "infer, a classifier", GIVEN.labels, lambda: asyncio.run(v1("labels", {"instances": GIVEN.rows}))
)
report(f"{NAME} (v1)", "explain", GIVEN.margins, lambda: asyncio.run(explained()))
report(f"{NAME} (v2, REST)", "infer, input-0", GIVEN.predictions, lambda: asyncio.run(v2("sample")))
report(f"{NAME} (v2, REST)", "infer, a classifier: the label", GIVEN.labels, lambda: asyncio.run(v2("labels")))
report(f"{NAME} (v2, gRPC)", "infer, contents", GIVEN.predictions, lambda: asyncio.run(over_grpc("sample")))
report(f"{NAME} (v2, gRPC)", "infer, a classifier: the label", GIVEN.labels, lambda: asyncio.run(over_grpc("labels")))
BODY = {"instances": [{"features": each} for each in GIVEN.records]}
for name, post in ((f"httpx {httpx.__version__}", httpx.post), (f"requests {requests.__version__}", requests.post)):
    report(
        name,
        "POST /predict/batch",
        GIVEN.predictions,
        lambda p=post: p(f"{URL}/predict/batch", json=BODY).json()["predictions"],
    )
