"""What unmodified gRPC clients of Triton see of a server; run in the clients' environment: `grpc_triton.py ADDRESS EXPECTED ROW COLUMNS`.

Ends with an assertion's message where a client does not get what it expects.
"""

from __future__ import annotations

import asyncio
import json
import sys
from queue import Queue

import numpy as np
import tritonclient.grpc as sync_client
import tritonclient.grpc.aio as async_client
from tritonclient.utils import InferenceServerException

MODEL = "sample"
_KINDS = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


def tensor(client, name, datatype, values):
    made = client.InferInput(name, list(np.shape(values)), datatype)
    made.set_data_from_numpy(np.array(values, dtype=_KINDS[datatype]))
    return made


def prediction(result):
    return result.as_numpy("prediction").ravel().tolist()


def triton_sync(address, row, columns, expected):
    wide = [tensor(sync_client, "features", "FP64", [row, row])]
    with sync_client.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, "1")
        assert client.get_server_metadata().name == "mlrf"
        assert client.get_model_metadata(MODEL).name == MODEL
        assert client.get_model_config(MODEL).config.name == MODEL
        assert [each.name for each in client.get_model_repository_index().models] == [MODEL]
        for compression in (None, "gzip", "deflate"):
            result = client.infer(MODEL, wide, request_id="7", compression_algorithm=compression)
            assert prediction(result) == [expected, expected]
            assert result.get_response().id == "7"
        result = client.infer(MODEL, [tensor(sync_client, *each) for each in columns])
        assert prediction(result) == [expected]
        got = Queue()
        client.async_infer(MODEL, wide, lambda result, error: got.put((result, error)))
        result, error = got.get(timeout=10)
        assert error is None, error
        assert prediction(result) == [expected, expected]
        client.start_stream(lambda result, error: got.put((result, error)))
        client.async_stream_infer(MODEL, wide, request_id="1")
        client.async_stream_infer("none", wide, request_id="2")
        client.async_stream_infer(MODEL, wide, request_id="3")
        first, refused, last = (got.get(timeout=10) for _ in range(3))
        client.stop_stream()
        assert prediction(first[0]) == prediction(last[0]) == [expected, expected]
        assert "none" in str(refused[1])
        assert client.get_inference_statistics(MODEL).model_stats[0].inference_count > 0
        assert client.get_inference_statistics().model_stats
        for act in (client.load_model, client.unload_model):
            refusal(act, "PERMISSION_DENIED", MODEL)
        refusal(client.infer, "NOT_FOUND", "none", wide)
        refusal(client.infer, "NOT_FOUND", MODEL, wide, model_version="99")
        refusal(client.infer, "INVALID_ARGUMENT", MODEL, [tensor(sync_client, "features", "FP64", [row[:-1]])])
        refusal(client.infer, "INVALID_ARGUMENT", MODEL, [tensor(sync_client, "nothing", "FP64", [row])])


def refusal(call, code, *arguments, **named):
    try:
        call(*arguments, **named)
    except InferenceServerException as error:
        assert error.status() == f"StatusCode.{code}", error
    else:
        raise AssertionError(f"{arguments} was answered")


async def triton_async(address, row, expected):
    wide = [tensor(async_client, "features", "FP64", [row])]
    async with async_client.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        assert (await client.get_model_metadata(MODEL)).name == MODEL
        assert prediction(await client.infer(MODEL, wide, client_timeout=10)) == [expected]

        async def requests():
            for number in range(3):
                yield {"model_name": MODEL, "inputs": wide, "request_id": str(number)}

        answers = [each async for each in client.stream_infer(requests())]
        assert [(prediction(result), error) for result, error in answers] == [([expected], None)] * 3


def main():
    address, expected, row, columns = sys.argv[1], float.fromhex(sys.argv[2]), *map(json.loads, sys.argv[3:])
    columns = [(name, datatype, [[value]]) for name, datatype, value in columns]
    triton_sync(address, row, columns, expected)
    asyncio.run(triton_async(address, row, expected))
    print("every client was answered")


if __name__ == "__main__":
    main()
