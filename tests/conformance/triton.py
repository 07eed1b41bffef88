"""tritonclient: http, grpc and its asyncio forms."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from reporting import given, report

GIVEN = given()
VERSION = version("tritonclient")
ROWS = np.array(GIVEN.numbers, dtype=np.float64)


def inputs(kind):
    made = kind.InferInput("features", list(ROWS.shape), "FP64")
    made.set_data_from_numpy(ROWS)
    return [made]


def outputs(kind, *names):
    return [kind.InferRequestedOutput(name) for name in names]


def ask(client, kind, name="prediction", model="sample"):
    return client.infer(model, inputs(kind), outputs=outputs(kind, name)).as_numpy(name)


for title, kind, address in (("http", triton_http, GIVEN.address), ("grpc", triton_grpc, GIVEN.grpc_address)):
    client = kind.InferenceServerClient(address)
    name = f"tritonclient {VERSION} ({title})"
    report(name, "is_server_live, is_server_ready, is_model_ready", [True, True, True, False], lambda c=client: [
        c.is_server_live(), c.is_server_ready(), c.is_model_ready("sample"), c.is_model_ready("nobody")
    ])  # fmt: skip
    report(name, "infer, FP64", GIVEN.predictions, lambda c=client, k=kind: ask(c, k).tolist())
    labels = lambda c=client, k=kind: [each.decode() for each in ask(c, k, "label", "labels").tolist()]  # noqa: E731
    report(name, "infer, label", GIVEN.labels, labels)
    report(name, "get_model_config, response_cache", True, lambda c=client, t=title: (
        c.get_model_config("sample")["response_cache"]["enable"] if t == "http" else c.get_model_config("sample").config.response_cache.enable
    ))  # fmt: skip
    report(name, "get_inference_statistics", True, lambda c=client, t=title: (
        c.get_inference_statistics("sample")["model_stats"][0]["inference_count"] > 0
        if t == "http" else c.get_inference_statistics("sample").model_stats[0].inference_count > 0
    ))  # fmt: skip


async def aio(kind, address):
    async with kind.InferenceServerClient(address) as client:
        answer = await client.infer("sample", inputs(kind), outputs=outputs(kind, "prediction"))
        return answer.as_numpy("prediction").tolist()


for title, kind, address in (
    ("http.aio", triton_http_aio, GIVEN.address),
    ("grpc.aio", triton_grpc_aio, GIVEN.grpc_address),
):
    report(
        f"tritonclient {VERSION} ({title})",
        "infer, FP64",
        GIVEN.predictions,
        lambda k=kind, a=address: asyncio.run(aio(k, a)),
    )
