"""Calls of Triton's unmodified gRPC clients; run in the clients' environment (see suite.py).

Ends with an assertion error if a client does not get what it expects.
"""

from __future__ import annotations

import asyncio
from queue import Queue

import tritonclient.grpc as sync_client
import tritonclient.grpc.aio as async_client
from suite import MANY, MODEL, arguments, done, refusal, tensors, wide
from tritonclient.utils import InferenceServerException

WAYS = (None, "gzip", "deflate")
_LIMIT_S = 60


def prediction(result):
    return result.as_numpy("prediction").ravel().tolist()


def refused(code, call, *arguments, **named):
    error = refusal(InferenceServerException, lambda: call(*arguments, **named))
    assert error.status() == f"StatusCode.{code}", error
    return error.message()


def triton_describes(client, arguments):
    assert client.is_server_live()
    assert client.is_server_ready()
    for version in ("", "1", arguments.digest, arguments.digest[:12]):
        assert client.is_model_ready(MODEL, version)
        assert list(client.get_model_metadata(MODEL, version).versions) == ["1"]
        assert client.get_model_config(MODEL, version).config.max_batch_size == 10_000
        assert [each.name for each in client.get_inference_statistics(MODEL, version).model_stats] == [MODEL]
    server = client.get_server_metadata(as_json=True)
    assert server["name"] == "mlrf"
    assert {"binary_tensor_data", "statistics", "model_repository", "model_configuration"} <= set(server["extensions"])
    metadata = client.get_model_metadata(MODEL)
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [(c[0], [-1, 1]) for c in arguments.columns]
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.outputs] == [("prediction", "FP64", [-1])]
    index = client.get_model_repository_index().models
    assert (MODEL, "1", "READY") in [(each.name, each.version, each.state) for each in index]
    assert client.get_inference_statistics().model_stats


def triton_infers(client, arguments):
    for way in WAYS:
        inputs = wide(sync_client, arguments.row, MANY)
        assert prediction(client.infer(MODEL, inputs, compression_algorithm=way)) == [arguments.prediction] * MANY
    for each in arguments.requests:
        assert prediction(client.infer(MODEL, tensors(sync_client, each["inputs"]))) == each["predictions"], each
    assert prediction(client.infer(MODEL, columns(arguments), model_version="1")) == [arguments.prediction]
    result = client.infer(
        MODEL, wide(sync_client, arguments.row), request_id="7", client_timeout=_LIMIT_S, priority=1, timeout=10**6
    )
    assert prediction(result) == [arguments.prediction]
    assert (result.get_response().id, result.get_response().model_version) == ("7", "1")
    assert client.get_inference_statistics(MODEL).model_stats[0].inference_count > 0
    got = Queue()
    for way in WAYS:
        client.async_infer(
            MODEL,
            wide(sync_client, arguments.row, 2),
            lambda result, error: got.put((result, error)),
            compression_algorithm=way,
        )
    for _ in WAYS:
        result, error = got.get(timeout=_LIMIT_S)
        assert error is None, error
        assert prediction(result) == [arguments.prediction] * 2


def triton_streams(client, arguments):
    inputs = wide(sync_client, arguments.row, 2)
    for way in WAYS:
        got = Queue()
        client.start_stream(lambda result, error, got=got: got.put((result, error)), compression_algorithm=way)
        client.async_stream_infer(MODEL, inputs, request_id="1")
        client.async_stream_infer("none", inputs, request_id="2")
        client.async_stream_infer(MODEL, columns(arguments), request_id="3", enable_empty_final_response=True)
        first, wrong, last = (got.get(timeout=_LIMIT_S) for _ in range(3))
        client.stop_stream()
        assert (prediction(first[0]), first[0].get_response().id) == ([arguments.prediction] * 2, "1")
        assert "none" in str(wrong[1])
        assert (prediction(last[0]), last[0].get_response().id) == ([arguments.prediction], "3")
        assert last[0].get_response().parameters["triton_final_response"].bool_param
        assert got.empty()


def triton_goes_beyond(client, arguments):
    names = ("shap_values", "shap_base", "prediction")
    outputs = [sync_client.InferRequestedOutput(name) for name in names]
    result = client.infer(MODEL, wide(sync_client, arguments.row), outputs=outputs)
    assert result.as_numpy("shap_values").tolist() == [arguments.explanation["shap_values"]]
    assert result.as_numpy("shap_base").tolist() == arguments.explanation["shap_base"]
    assert prediction(result) == [arguments.prediction]
    result = client.infer(MODEL, tensors(sync_client, arguments.key["inputs"]))
    assert prediction(result) == [arguments.key["prediction"]]
    parameters = {name: each.string_param for name, each in result.get_response().parameters.items()}
    assert parameters == {"bundle_version": arguments.digest[:12], "features_as_of": arguments.key["as_of"]}


def triton_is_refused(client, arguments):
    for act in (client.load_model, client.unload_model):
        refused("PERMISSION_DENIED", act, MODEL)
    row = wide(sync_client, arguments.row)
    assert "none" in refused("NOT_FOUND", client.infer, "none", row)
    assert "99" in refused("NOT_FOUND", client.infer, MODEL, row, model_version="99")
    assert "[1, 6]" in refused("INVALID_ARGUMENT", client.infer, MODEL, wide(sync_client, arguments.row[:-1]))
    assert "store" in refused("INVALID_ARGUMENT", client.infer, MODEL, columns(arguments)[:3])
    for call in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
        refused("NOT_FOUND", call, "none")
    assert not client.is_model_ready("none")
    assert client.get_model_config(MODEL).config.response_cache.enable


def columns(arguments):
    return tensors(sync_client, [[name, kind, [1, 1], [value]] for name, kind, value in arguments.columns])


async def triton_async(arguments):
    inputs = wide(async_client, arguments.row)
    async with async_client.InferenceServerClient(arguments.address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL, "1")
        assert (await client.get_server_metadata()).name == "mlrf"
        assert (await client.get_model_metadata(MODEL)).name == MODEL
        assert (await client.get_model_config(MODEL)).config.name == MODEL
        assert MODEL in [each.name for each in (await client.get_model_repository_index()).models]
        assert (await client.get_inference_statistics(MODEL)).model_stats[0].name == MODEL
        many = wide(async_client, arguments.row, MANY)
        for way in WAYS:
            result = await client.infer(MODEL, many, client_timeout=_LIMIT_S, compression_algorithm=way)
            assert prediction(result) == [arguments.prediction] * MANY

        async def requests():
            for number in range(3):
                yield {"model_name": MODEL, "inputs": inputs, "request_id": str(number)}

        for way in WAYS:
            answers = [each async for each in client.stream_infer(requests(), compression_algorithm=way)]
            assert [(prediction(result), error) for result, error in answers] == [([arguments.prediction], None)] * 3


def main():
    given = arguments()
    with sync_client.InferenceServerClient(given.address) as client:
        triton_describes(client, given)
        triton_infers(client, given)
        triton_streams(client, given)
        triton_goes_beyond(client, given)
        triton_is_refused(client, given)
    asyncio.run(triton_async(given))
    done()


if __name__ == "__main__":
    main()
