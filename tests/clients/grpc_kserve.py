"""Calls of KServe's unmodified gRPC client, as in grpc_triton.py; one process cannot import both clients."""

from __future__ import annotations

import asyncio

import grpc
from kserve import InferenceGRPCClient, InferInput, InferRequest
from suite import MODEL, arguments, array_of, done


async def kserve(arguments):
    async with InferenceGRPCClient(arguments.address, retries=0) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL)
        for each in arguments.requests:
            for binary in (True, False):
                inputs = []
                for name, datatype, shape, values in each["inputs"]:
                    inputs.append(InferInput(name, shape, datatype))
                    inputs[-1].set_data_from_numpy(array_of(datatype, shape, values), binary_data=binary)
                request = InferRequest(model_name=MODEL, infer_inputs=inputs, request_id="seven")
                answer = await client.infer(request, timeout=10)
                # KServe's own tests read `data`, which holds the values where the request held some.
                assert binary or list(answer.outputs[0].data) == each["predictions"], each
                assert (answer.model_name, answer.id) == (MODEL, "seven")
                assert answer.outputs[0].as_numpy().ravel().tolist() == each["predictions"], each
        assert not await client.is_model_ready("none")
        try:
            await client.infer(InferRequest(model_name="none", infer_inputs=inputs))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
        else:
            raise AssertionError("a model that is not served was answered")


if __name__ == "__main__":
    asyncio.run(kserve(arguments()))
    done()
