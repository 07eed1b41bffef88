"""A gRPC client of raw bytes, and the gRPC address of a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import grpc

from running import Server, eventually

INFERENCE = "/inference.GRPCInferenceService/"
LIMIT_S = 120.0


class Peer:
    """A client of raw bytes: it sends any bytes, well-formed or not."""

    def __init__(self, address: str, credentials: Any = None, options: Sequence[tuple[str, Any]] = ()) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        self.channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, [*options, ("grpc.ssl_target_name_override", "localhost")])
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def ask(self, call: str, body: bytes = b"", **options: Any) -> Any:
        """The answer's bytes, or the error of a call that has none."""
        path = call if call.startswith("/") else INFERENCE + call
        try:
            return self.channel.unary_unary(path)(body, **{"timeout": LIMIT_S} | options)
        except grpc.RpcError as error:
            return error

    def code(self, call: str, body: bytes = b"", **options: Any) -> grpc.StatusCode:
        """The code of a call."""
        answer = self.ask(call, body, **options)
        return grpc.StatusCode.OK if isinstance(answer, bytes) else answer.code()


def address_of(server: Server) -> str:
    """The gRPC address of a server."""

    def logged() -> str | None:
        return next((entry["address"] for entry in server.log if entry["event"] == "gRPC listening"), None)

    return eventually(logged, what="the log line of the address")
