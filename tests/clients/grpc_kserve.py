"""What KServe's unmodified gRPC client sees of a server, as grpc_triton.py; the two cannot be imported by one process."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

MODEL = "sample"


async def kserve(address, row, expected):
    async with InferenceGRPCClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL)
        for binary in (True, False):
            wide = InferInput("features", [1, len(row)], "FP64")
            wide.set_data_from_numpy(np.array([row]), binary_data=binary)
            answer = await client.infer(InferRequest(model_name=MODEL, infer_inputs=[wide]))
            assert answer.outputs[0].as_numpy().ravel().tolist() == [expected]


if __name__ == "__main__":
    asyncio.run(kserve(sys.argv[1], json.loads(sys.argv[3]), float.fromhex(sys.argv[2])))
    print("every client was answered")
