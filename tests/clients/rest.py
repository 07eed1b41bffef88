"""Calls of unmodified REST clients; run in the clients' environment (see suite.py).

Ends with an assertion error if a client does not get what it expects.
"""

from __future__ import annotations

import asyncio

import httpx
import tritonclient.http as sync_client
import tritonclient.http.aio as async_client
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from suite import MANY, MODEL, arguments, array_of, done, refusal, tensors, wide
from tritonclient.utils import InferenceServerException

WAYS = (None, "gzip", "deflate")


def outputs(client, binary, *names):
    return [client.InferRequestedOutput(name, binary_data=binary) for name in names]


def compression(request, response):
    return {"request_compression_algorithm": request, "response_compression_algorithm": response}


def prediction(result):
    return result.as_numpy("prediction").tolist()


def triton_describes(client, arguments):
    assert client.is_server_live()
    assert client.is_server_ready()
    for version in ("", "1", arguments.digest, arguments.digest[:12]):
        assert client.is_model_ready(MODEL, version)
        assert client.get_model_metadata(MODEL, version)["versions"] == ["1"]
        assert client.get_model_config(MODEL, version)["max_batch_size"] == 10_000
        assert [each["name"] for each in client.get_inference_statistics(MODEL, version)["model_stats"]] == [MODEL]
    assert not client.is_model_ready("none")
    assert not client.is_model_ready(MODEL, "99")
    server = client.get_server_metadata()
    assert server["name"] == "mlrf"
    assert {"binary_tensor_data", "statistics", "model_repository", "model_configuration"} <= set(server["extensions"])
    metadata = client.get_model_metadata(MODEL)
    assert metadata["name"] == MODEL
    # A category of this model is a string, so its inputs are listed one by one.
    assert [(each["name"], each["shape"]) for each in metadata["inputs"]] == [
        (c[0], [-1, 1]) for c in arguments.columns
    ]
    (output,) = metadata["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("prediction", "FP64", [-1])
    assert {"name": MODEL, "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index()
    assert client.get_inference_statistics()["model_stats"]


def triton_infers(client, arguments):
    for binary in (True, False):
        for request in WAYS:
            for response in WAYS:
                inputs = wide(sync_client, arguments.row, MANY, binary_data=binary)
                how = {"outputs": outputs(sync_client, binary, "prediction"), **compression(request, response)}
                result = client.infer(MODEL, inputs, **how)
                assert prediction(result) == [arguments.prediction] * MANY
    for each in arguments.requests:
        for binary in (True, False):
            result = client.infer(MODEL, tensors(sync_client, each["inputs"], binary_data=binary))
            assert prediction(result) == each["predictions"], each
    assert prediction(client.infer(MODEL, columns(arguments), model_version="1")) == [arguments.prediction]
    result = client.infer(
        MODEL,
        wide(sync_client, arguments.row),
        request_id="7",
        priority=1,
        timeout=10**6,
        headers={"x-request-id": "mine"},
    )
    assert prediction(result) == [arguments.prediction]
    assert (result.get_response()["id"], result.get_response()["model_version"]) == ("7", "1")
    waiting = [
        client.async_infer(MODEL, wide(sync_client, arguments.row, n), **compression("gzip", "gzip"))
        for n in (1, 2, MANY)
    ]
    assert [len(prediction(each.get_result())) for each in waiting] == [1, 2, MANY]


def triton_goes_beyond(client, arguments):
    for binary in (True, False):
        requested = outputs(sync_client, binary, "shap_values", "shap_base", "prediction")
        result = client.infer(MODEL, wide(sync_client, arguments.row), outputs=requested)
        assert result.as_numpy("shap_values").tolist() == [arguments.explanation["shap_values"]]
        assert result.as_numpy("shap_base").tolist() == arguments.explanation["shap_base"]
        assert prediction(result) == [arguments.prediction]
        result = client.infer(MODEL, tensors(sync_client, arguments.key["inputs"], binary_data=binary))
        assert prediction(result) == [arguments.key["prediction"]]
        parameters = result.get_response()["parameters"]
        assert parameters == {"bundle_version": arguments.digest[:12], "features_as_of": arguments.key["as_of"]}


def triton_is_refused(client, arguments):
    def ask(*arguments, **named):
        return refusal(InferenceServerException, lambda: client.infer(*arguments, **named)).message()

    assert "none" in ask("none", wide(sync_client, arguments.row))
    assert "99" in ask(MODEL, wide(sync_client, arguments.row), model_version="99")
    assert "[1, 6]" in ask(MODEL, wide(sync_client, arguments.row[:-1]))
    assert "store" in ask(MODEL, columns(arguments)[:3])
    classes = [sync_client.InferRequestedOutput("prediction", class_count=2)]
    assert "classification" in ask(MODEL, wide(sync_client, arguments.row), outputs=classes)
    refusal(InferenceServerException, client.get_trace_settings, "no route")
    for call in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
        refusal(InferenceServerException, lambda call=call: call("none"), "none")


def columns(arguments):
    return tensors(sync_client, [[name, kind, [1, 1], [value]] for name, kind, value in arguments.columns])


async def triton_async(arguments):
    async with async_client.InferenceServerClient(arguments.address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL, "1")
        assert not await client.is_model_ready("none")
        assert (await client.get_server_metadata())["name"] == "mlrf"
        assert (await client.get_model_metadata(MODEL))["name"] == MODEL
        assert (await client.get_model_config(MODEL))["name"] == MODEL
        assert MODEL in [each["name"] for each in await client.get_model_repository_index()]
        assert (await client.get_inference_statistics(MODEL))["model_stats"][0]["inference_count"] > 0
        for binary in (True, False):
            for way in WAYS:
                inputs = wide(async_client, arguments.row, MANY, binary_data=binary)
                how = {"outputs": outputs(async_client, binary, "prediction"), **compression(way, way)}
                assert prediction(await client.infer(MODEL, inputs, **how)) == [arguments.prediction] * MANY
        many = await asyncio.gather(*(client.infer(MODEL, wide(async_client, arguments.row, n)) for n in range(1, 30)))
        assert [len(prediction(each)) for each in many] == list(range(1, 30))


async def kserve(arguments):
    url = f"http://{arguments.address}"
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, MODEL)
    assert not await client.is_model_ready(url, "none")
    for each in arguments.requests:
        for binary in (False, True):
            inputs = []
            for name, datatype, shape, values in each["inputs"]:
                inputs.append(InferInput(name, shape, datatype))
                inputs[-1].set_data_from_numpy(array_of(datatype, shape, values), binary_data=binary)
            request = InferRequest(model_name=MODEL, infer_inputs=inputs, request_id="seven")
            answer = await client.infer(url, request, model_name=MODEL)
            assert (answer.model_name, answer.id) == (MODEL, "seven")
            assert answer.outputs[0].as_numpy().tolist() == each["predictions"], each
    document = {
        "inputs": [{"name": "predict", "shape": [1, len(arguments.row)], "datatype": "FP64", "data": arguments.row}]
    }
    assert (await client.infer(url, document, model_name=MODEL)).outputs[0].data == [arguments.prediction]
    try:
        await client.infer(url, document, model_name="none")
    except httpx.HTTPStatusError as error:
        assert "none" in str(error)
        assert "404" in str(error)
    else:
        raise AssertionError("a model that is not served was answered")
    await client.close()


def main():
    given = arguments()
    with sync_client.InferenceServerClient(given.address, concurrency=3) as client:
        triton_describes(client, given)
        triton_infers(client, given)
        triton_goes_beyond(client, given)
        triton_is_refused(client, given)
    asyncio.run(triton_async(given))
    asyncio.run(kserve(given))
    done()


if __name__ == "__main__":
    main()
