"""Loading and unloading with Triton's unmodified clients: over HTTP and gRPC, blocking and not, each observed by the others.

Arguments: `http` and `grpc`, the addresses of a server with the models `sample` and `damaged` (whose load is refused), the `row`
and `prediction` of every suite, and `keys`: `admin` permits everything, `predict` only inference.
"""

from __future__ import annotations

import asyncio
from queue import Queue

import tritonclient.grpc as over_grpc
import tritonclient.grpc.aio as over_grpc_async
import tritonclient.http as over_http
import tritonclient.http.aio as over_http_async
from suite import MODEL, arguments, done, refusal, wide
from tritonclient.utils import InferenceServerException

UNLOADED, READY = ("1", "UNAVAILABLE", "unloaded"), ("1", "READY", "")
_TIMES = 3


def bearer(key):
    """Created for each call, because the HTTP client adds its own headers."""
    return {"headers": {"authorization": f"Bearer {key}"}}


def index(client, key):
    """Version, state and reason of each model, by name."""
    found = client.get_model_repository_index(**bearer(key))
    if not isinstance(found, list):
        return {each.name: (each.version, each.state, each.reason) for each in found.models}
    return {each["name"]: (each["version"], each["state"], each["reason"]) for each in found}


def each_does_what_the_other_sees(arguments, http, grpc, key):
    """One client acts and the other observes, in both directions."""
    clients = {http: over_http, grpc: over_grpc}
    for acting, looking in ((http, grpc), (grpc, http)):
        for _ in range(_TIMES):
            acting.unload_model(MODEL, **bearer(key))
            for client, module in clients.items():
                assert not client.is_model_ready(MODEL, **bearer(key))
                assert index(client, key)[MODEL] == UNLOADED
                assert client.is_server_ready(**bearer(key))
                inputs = wide(module, arguments.row)
                words = "sample is unloaded", f"/v2/repository/models/{MODEL}/load"
                for call in (
                    client.infer,
                    client.get_model_metadata,
                    client.get_model_config,
                    client.get_inference_statistics,
                ):
                    positional = (MODEL, inputs) if call == client.infer else (MODEL,)
                    error = refusal(InferenceServerException, lambda c=call, a=positional: c(*a, **bearer(key)), *words)
                    assert error.status() in ("404", "StatusCode.NOT_FOUND", None), error.status()
            acting.unload_model(MODEL, unload_dependents=True, **bearer(key))
            looking.load_model(MODEL, **bearer(key))
            for client, module in clients.items():
                assert client.is_model_ready(MODEL, **bearer(key))
                assert index(client, key)[MODEL] == READY
                assert client.infer(MODEL, wide(module, arguments.row), **bearer(key)).as_numpy(
                    "prediction"
                ).tolist() == [arguments.prediction]
            acting.load_model(MODEL, **bearer(key))


def what_cannot_be_is_refused(arguments, http, grpc):
    admin, outsider = arguments.keys["admin"], arguments.keys["predict"]
    for client in (http, grpc):
        for act in (client.load_model, client.unload_model):
            refusal(InferenceServerException, lambda a=act: a("none", **bearer(admin)), "no model named 'none'")
            # A caller without a key must not learn whether a model exists.
            for name in (MODEL, "none"):
                refusal(
                    InferenceServerException, lambda a=act, n=name: a(n, **bearer(outsider)), "lacks the scope 'admin'"
                )
                refusal(InferenceServerException, lambda a=act, n=name: a(n), "needs a key")
        refusal(
            InferenceServerException,
            lambda c=client: c.load_model(MODEL, config="{}", **bearer(admin)),
            "config",
            "mlrf publish",
        )
        with_files = {"config": "{}", "files": {"file:1/model.onnx": b"no model"}, **bearer(admin)}
        refusal(InferenceServerException, lambda c=client, w=with_files: c.load_model(MODEL, **w), "mlrf publish")
        assert index(client, admin)[MODEL] == READY
        client.unload_model("damaged", **bearer(admin))
        refusal(
            InferenceServerException,
            lambda c=client: c.load_model("damaged", **bearer(admin)),
            "forest.bin was altered",
        )
        assert index(client, admin)["damaged"] == UNLOADED


def a_stream_goes_on(arguments, grpc):
    """A stream opened before the unload: its next request is refused, the one after the load is answered."""
    key, got = arguments.keys["admin"], Queue()
    grpc.start_stream(lambda result, error: got.put((result, error)), **bearer(key))

    def next_answer():
        grpc.async_stream_infer(MODEL, wide(over_grpc, arguments.row))
        return got.get(timeout=10)

    assert next_answer()[0].as_numpy("prediction").tolist() == [arguments.prediction]
    grpc.unload_model(MODEL, **bearer(key))
    assert "sample is unloaded" in str(next_answer()[1])
    grpc.load_model(MODEL, **bearer(key))
    assert next_answer()[0].as_numpy("prediction").tolist() == [arguments.prediction]
    grpc.stop_stream()


async def and_without_blocking(arguments):
    key = arguments.keys["admin"]
    for module, address in ((over_http_async, arguments.http), (over_grpc_async, arguments.grpc)):
        async with module.InferenceServerClient(address) as client:
            await client.unload_model(MODEL, **bearer(key))
            assert not await client.is_model_ready(MODEL, **bearer(key))
            await client.load_model(MODEL, **bearer(key))
            assert await client.is_model_ready(MODEL, **bearer(key))
            answer = await client.infer(MODEL, wide(module, arguments.row), **bearer(key))
            assert answer.as_numpy("prediction").tolist() == [arguments.prediction]


def main(arguments):
    with (
        over_http.InferenceServerClient(arguments.http) as http,
        over_grpc.InferenceServerClient(arguments.grpc) as grpc,
    ):
        each_does_what_the_other_sees(arguments, http, grpc, arguments.keys["admin"])
        what_cannot_be_is_refused(arguments, http, grpc)
        a_stream_goes_on(arguments, grpc)
    asyncio.run(and_without_blocking(arguments))


if __name__ == "__main__":
    main(arguments())
    done()
