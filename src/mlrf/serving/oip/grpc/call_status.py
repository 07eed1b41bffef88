"""The end of a gRPC call on the wire: its status, as header blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mlrf.serving.http2.header_blocks import encode_fields

CODES: Final = {
    name: number
    for number, name in enumerate(
        (
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        )
    )
}
"""The codes of gRPC by name."""
_STATUS_200 = b"\x88"
"""`:status: 200`, from HPACK's static table."""
HEAD: Final = _STATUS_200 + encode_fields(
    ((b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity, deflate, gzip"))
)
"""The header block of every answer."""
OK: Final = encode_fields(((b"grpc-status", b"0"),))
"""The trailer block of a call that succeeded."""
_PRINTABLE = frozenset(range(0x20, 0x7F)) - {ord("%")}


def status_block(code: str, details: str, metadata: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return the trailer block of a status; details are percent-encoded (gRPC over HTTP/2, Status-Message)."""
    text = "".join(chr(byte) if byte in _PRINTABLE else f"%{byte:02X}" for byte in details.encode())
    fields = [(b"grpc-status", b"%d" % CODES[code]), (b"grpc-message", text.encode())]
    return encode_fields([*fields, *((name.encode(), value.encode()) for name, value in metadata)])


def http_block(status: bytes) -> bytes:
    """Return the header block that answers a request that is not a gRPC call."""
    return encode_fields(((b":status", status), (b"content-length", b"0")))
