"""The headers of a gRPC call: which call it is, who calls, how long the caller waits, how its messages are compressed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlrf.core.errors import HeadersTooLargeError, MalformedRequestError, MlrfError
from mlrf.serving.http2.header_blocks import Fields, list_bytes
from mlrf.serving.http2.limits import MAX_LIST_BYTES
from mlrf.serving.runtime.request_runtime import REQUEST_ID

_CONTENT_TYPE = re.compile(rb"application/grpc(\+proto)?(;.*)?", re.IGNORECASE)
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_ONCE = frozenset((b"content-type", b"grpc-timeout", b"grpc-encoding", b"x-request-id"))
"""Fields whose repetition is refused, as over HTTP/1.1: a proxy may have decided by the other one."""
_METHOD_NOT_ALLOWED, _UNSUPPORTED_MEDIA_TYPE = b"405", b"415"


@dataclass(frozen=True, slots=True)
class CallHead:
    """The headers of a call."""

    path: str
    authorization: bytes | None = None
    request_id: bytes | None = None
    traceparent: bytes | None = None
    timeout_s: float = 0.0
    """How long the caller waits; 0 without a limit."""
    encoding: bytes = b"identity"
    fault: MlrfError | None = None
    """Why the call is refused, whatever it is."""
    http_status: bytes = b""
    """The HTTP status for a request that is not a gRPC call; empty for calls."""


def read_call_head(fields: Fields) -> CallHead:
    """Return the head that the fields of a request make; metadata that no call uses are ignored."""
    known: dict[bytes, bytes] = {}
    fault: MlrfError | None = None
    for name, value in fields:
        if name in known and name in _ONCE:
            fault = MalformedRequestError(f"the call has two {name.decode()} fields")
        # Two keys are none: a proxy may have checked the other one.
        known[name] = b"" if name == b"authorization" and name in known else value
    status = b""
    if known[b":method"] != b"POST":
        status = _METHOD_NOT_ALLOWED
    elif not _CONTENT_TYPE.fullmatch(known.get(b"content-type", b"")):
        status = _UNSUPPORTED_MEDIA_TYPE
    timeout_s = 0.0
    if list_bytes(fields) > MAX_LIST_BYTES:
        fault = HeadersTooLargeError(
            f"the metadata of the call are longer than {MAX_LIST_BYTES} bytes", max_bytes=MAX_LIST_BYTES
        )
    if b"grpc-timeout" in known:
        match = _TIMEOUT.fullmatch(known[b"grpc-timeout"])
        if match is None:
            fault = MalformedRequestError("grpc-timeout is not up to eight digits and one of H, M, S, m, u, n")
        else:
            timeout_s = max(int(match[1]) * _UNITS_S[match[2]], 1e-9)
    identity = known.get(b"x-request-id")
    return CallHead(
        known[b":path"].decode("latin-1"),
        known.get(b"authorization"),
        identity if identity is not None and REQUEST_ID.fullmatch(identity) else None,
        known.get(b"traceparent"),
        timeout_s,
        known.get(b"grpc-encoding", b"identity"),
        fault,
        status,
    )
