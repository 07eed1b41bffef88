"""Messages of an Arrow IPC stream (arrow.apache.org/docs/format/Columnar.html, "IPC Streaming Format").

1. Each begins with FF FF FF FF and the size of its metadata, a FlatBuffers table; its body follows. A size of 0 is the end.
2. The first message is the schema; dictionaries and record batches follow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from mlrf.core.errors import MalformedRequestError
from mlrf.core.flatbuffers import DamagedBufferError, Table

_CONTINUATION = 0xFFFFFFFF
PREFIX_BYTES = 8


class Header(IntEnum):
    """What a message holds."""

    SCHEMA = 1
    DICTIONARY = 2
    RECORDS = 3


class MessageField(IntEnum):
    """Fields of a Message table."""

    VERSION = 0
    HEADER_TYPE = 1
    HEADER = 2
    BODY_LENGTH = 3


class Message(NamedTuple):
    """One message."""

    start: int
    """Its offset in the stream."""
    kind: int
    metadata: bytes
    header: Table
    body: memoryview


def malformed(reason: str) -> MalformedRequestError:
    """Return the error for a body that is not an Arrow IPC stream."""
    return MalformedRequestError(f"the body is not an Arrow IPC stream: {reason}")


def metadata_bytes(body: bytes | memoryview, at: int = 0) -> int:
    """Return the size of the metadata of the message that begins at `at`; 0 at the end of the stream."""
    if at + PREFIX_BYTES > len(body):
        raise malformed("it ends within a message")
    continuation: int
    size: int
    continuation, size = struct.unpack_from("<Ii", body, at)
    if continuation != _CONTINUATION:
        raise malformed(
            "a message does not begin with FF FF FF FF; send the streaming format (pyarrow.ipc.new_stream), not a Feather file"
        )
    if size < 0 or at + PREFIX_BYTES + size > len(body):
        raise malformed("the metadata of a message is longer than what follows")
    return size


def messages(body: bytes, most: int, at: int = 0) -> Iterator[Message]:
    """Yield the messages of a stream from an offset on; MalformedRequestError if it is invalid or has more than `most`."""
    view = memoryview(body)
    for _ in range(most):
        if at == len(body) or not (size := metadata_bytes(view, at)):
            return
        start = at + PREFIX_BYTES
        try:
            # Bytes, not a view: `struct.iter_unpack` keeps a buffer of a view, and CPython 3.11 was seen to crash when it
            # collected both with the traceback of a refusal.
            metadata = body[start : start + size]
            table = Table.root(metadata)
            length = table.number(MessageField.BODY_LENGTH, "q", 0)
            header = table.table(MessageField.HEADER)
            kind = table.number(MessageField.HEADER_TYPE, "B", 0)
        except DamagedBufferError as error:
            raise malformed(f"the metadata of a message is damaged, {error}") from error
        start += size
        if length < 0 or start + length > len(body):
            raise malformed("the body of a message is longer than what follows")
        if header is None:
            raise malformed("a message has no header")
        yield Message(at, kind, metadata, header, view[start : start + length])
        at = start + length
    raise malformed(f"it has more than {most} messages; send the rows in one record batch")
