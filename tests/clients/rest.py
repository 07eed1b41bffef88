"""What unmodified REST clients see of a server; run in the clients' environment: `rest.py URL EXPECTED ROW_AS_JSON`.

Ends with an assertion's message where a client does not get what it expects.
"""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
import tritonclient.http as sync_client
import tritonclient.http.aio as async_client
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from tritonclient.utils import InferenceServerException

MODEL = "sample"


def asked(client, row, datatype="FP64", *, binary=True):
    wide = client.InferInput("features", [2, len(row)], datatype)
    kind = {"FP64": np.float64, "FP32": np.float32}[datatype]
    wide.set_data_from_numpy(np.array([row, row], dtype=kind), binary_data=binary)
    return [wide]


def by_feature(client, columns):
    inputs = []
    for name, datatype, value in columns:
        kinds = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
        tensor = client.InferInput(name, [1, 1], datatype)
        tensor.set_data_from_numpy(np.array([[value]], dtype=kinds[datatype]))
        inputs.append(tensor)
    return inputs


def triton_sync(address, row, columns, expected):
    with sync_client.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, "1")
        assert not client.is_model_ready("none")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert client.get_model_metadata(MODEL)["versions"] == ["1"]
        assert client.get_model_config(MODEL)["max_batch_size"] == 10_000
        assert [each["name"] for each in client.get_model_repository_index()] == [MODEL]
        for binary in (True, False):
            for compression in (None, "gzip", "deflate"):
                outputs = [sync_client.InferRequestedOutput("prediction", binary_data=binary)]
                told = {"request_compression_algorithm": compression, "response_compression_algorithm": compression}
                result = client.infer(MODEL, asked(sync_client, row, binary=binary), outputs=outputs, **told)
                assert result.as_numpy("prediction").tolist() == [expected, expected]
        result = client.infer(MODEL, asked(sync_client, row), request_id="7")
        assert result.as_numpy("prediction").tolist() == [expected, expected]
        assert result.get_response()["id"] == "7"
        result = client.infer(MODEL, by_feature(sync_client, columns))
        assert result.as_numpy("prediction").tolist() == [expected]
        assert client.async_infer(MODEL, asked(sync_client, row)).get_result().as_numpy("prediction")[0] == expected
        assert client.get_inference_statistics(MODEL)["model_stats"][0]["inference_count"] > 0
        assert client.get_inference_statistics()["model_stats"]
        try:
            client.infer(MODEL, asked(sync_client, row[:-1]))
        except InferenceServerException as error:
            assert "features" in str(error), error
        else:
            raise AssertionError("a column too few was answered")


async def triton_async(address, row, expected):
    async with async_client.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        assert (await client.get_model_metadata(MODEL))["name"] == MODEL
        result = await client.infer(MODEL, asked(async_client, row))
        assert result.as_numpy("prediction").tolist() == [expected, expected]


async def kserve(address, row, expected):
    url = f"http://{address}"
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, MODEL)
    wide = InferInput("predict", [1, len(row)], "FP64")
    wide.set_data_from_numpy(np.array([row]), binary_data=False)
    for binary in (False, True):
        wide.set_data_from_numpy(np.array([row]), binary_data=binary)
        answer = await client.infer(url, InferRequest(model_name=MODEL, infer_inputs=[wide]), model_name=MODEL)
        assert answer.model_name == MODEL
        assert answer.outputs[0].as_numpy().tolist() == [expected]
    await client.close()


def main():
    address, expected, row, columns = sys.argv[1], float.fromhex(sys.argv[2]), *map(json.loads, sys.argv[3:])
    triton_sync(address, row, columns, expected)
    asyncio.run(triton_async(address, row, expected))
    asyncio.run(kserve(address, row, expected))
    print("every client was answered")


if __name__ == "__main__":
    main()
