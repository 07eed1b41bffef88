"""Protobuf message classes, created at run time from the descriptors of the .proto files in this package.

Generated modules would depend on the protobuf versions that their generator supports; descriptors are data, which every version
reads. They are in a separate pool, because a client's generated modules may use the same names in the same process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.oip.grpc.limits import MAX_SMALL_MESSAGE_BYTES

DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")
FILES = {
    each.name: each.SerializeToString()
    for each in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
}
"""The descriptor of each file, by its name; none imports another."""
POOL = descriptor_pool.DescriptorPool()
for _serialized in FILES.values():
    POOL.AddSerializedFile(_serialized)


def message(name: str) -> type[Any]:
    """Return the class of a message; of the inference protocol if the name has no package."""
    full = name if "." in name else f"inference.{name}"
    made: type[Any] = message_factory.GetMessageClass(POOL.FindMessageTypeByName(full))
    return made


def parsed_short(kind: type[Any], body: bytes) -> Any:
    """Parse a small message; raises MalformedRequestError."""
    if len(body) > MAX_SMALL_MESSAGE_BYTES:
        raise MalformedRequestError(
            f"a {kind.DESCRIPTOR.full_name} may have at most {MAX_SMALL_MESSAGE_BYTES} bytes, but has {len(body)}"
        )
    return parsed(kind, body)


def parsed(kind: type[Any], body: bytes) -> Any:
    """Parse a message; raises MalformedRequestError."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise MalformedRequestError(f"the message is not a valid {kind.DESCRIPTOR.full_name}") from error
