"""Calls of KServe's unmodified clients to a model that is unloaded and loaded; arguments as for repository_triton.py.

KServe's clients have no calls for either, so a request of Python's own library does it.
"""

from __future__ import annotations

import asyncio
import urllib.request

import grpc
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from suite import MODEL, arguments, array_of, done


def act(arguments, what):
    where = f"http://{arguments.http}/v2/repository/models/{MODEL}/{what}"
    request = urllib.request.Request(where, b"", {"Authorization": f"Bearer {arguments.keys['admin']}"})
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  the test's own server
        assert (answer.status, answer.read()) == (200, b"{}")


def row(arguments):
    made = InferInput("features", [1, len(arguments.row)], "FP64")
    made.set_data_from_numpy(array_of("FP64", [1, len(arguments.row)], arguments.row), binary_data=False)
    return InferRequest(model_name=MODEL, infer_inputs=[made])


async def main(arguments):
    url = f"http://{arguments.http}"
    headers = {"Authorization": f"Bearer {arguments.keys['admin']}"}
    metadata = [("authorization", headers["Authorization"])]
    rest = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    async with InferenceGRPCClient(arguments.grpc, retries=0) as client:
        for what, is_served in (("unload", False), ("load", True)):
            act(arguments, what)
            assert await rest.is_server_ready(url, headers=headers)
            assert await client.is_server_ready()
            assert await rest.is_model_ready(url, MODEL, headers=headers) is is_served
            assert await client.is_model_ready(MODEL, headers=metadata) is is_served
            try:
                answer = await client.infer(row(arguments), headers=metadata, timeout=10)
            except grpc.RpcError as error:
                assert not is_served
                assert error.code() == grpc.StatusCode.NOT_FOUND
                assert f"/v2/repository/models/{MODEL}/load" in error.details()
            else:
                assert is_served
                assert answer.outputs[0].as_numpy().ravel().tolist() == [arguments.prediction]
    await rest.close()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
    done()
