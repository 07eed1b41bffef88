"""The KServe SDK: v1, v2 over REST, v2 over gRPC; and plain HTTP clients."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import httpx
import requests
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from reporting import given, report

TOLD = given()
NAME = f"kserve {version('kserve')}"
URL = f"http://{TOLD.address}"


async def v1(model, body):
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    answer = await client.infer(URL, body, model_name=model)
    await client.close()
    return answer["predictions"]


async def explained():
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    answer = await client.explain(URL, "sample", {"instances": TOLD.records})
    await client.close()
    return [each["margin"] for each in answer["explanations"]]


def request(model):
    flat = [value for row in TOLD.numbers for value in row]
    tensor = InferInput("input-0", [len(TOLD.numbers), len(TOLD.numbers[0])], "FP64", data=flat)
    return InferRequest(model, [tensor])


async def v2(model):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    answer = await client.infer(URL, request(model), model_name=model)
    await client.close()
    return list(answer.outputs[0].data)


async def over_grpc(model):
    async with InferenceGRPCClient(TOLD.grpc_address, retries=0) as client:
        answer = await client.infer(request(model))
        return [each.decode() if isinstance(each, bytes) else each for each in answer.outputs[0].data]


report(
    f"{NAME} (v1)",
    "infer, instances by name",
    TOLD.predictions,
    lambda: asyncio.run(v1("sample", {"instances": TOLD.records})),
)
report(
    f"{NAME} (v1)",
    "infer, instances by position",
    TOLD.predictions,
    lambda: asyncio.run(v1("sample", {"instances": TOLD.rows})),
)
report(f"{NAME} (v1)", "infer, a classifier", TOLD.labels, lambda: asyncio.run(v1("labels", {"instances": TOLD.rows})))
report(f"{NAME} (v1)", "explain", TOLD.margins, lambda: asyncio.run(explained()))
report(f"{NAME} (v2, REST)", "infer, input-0", TOLD.predictions, lambda: asyncio.run(v2("sample")))
report(f"{NAME} (v2, REST)", "infer, a classifier: the label", TOLD.labels, lambda: asyncio.run(v2("labels")))
report(f"{NAME} (v2, gRPC)", "infer, contents", TOLD.predictions, lambda: asyncio.run(over_grpc("sample")))
report(f"{NAME} (v2, gRPC)", "infer, a classifier: the label", TOLD.labels, lambda: asyncio.run(over_grpc("labels")))
BODY = {"instances": [{"features": each} for each in TOLD.records]}
for name, post in ((f"httpx {httpx.__version__}", httpx.post), (f"requests {requests.__version__}", requests.post)):
    report(
        name,
        "POST /predict/batch",
        TOLD.predictions,
        lambda p=post: p(f"{URL}/predict/batch", json=BODY).json()["predictions"],
    )
