"""The nodes of a YDF model: blob sequences of messages, each tree in preorder, negative children first."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from mlrf.builder.importers.ydf.protobuf import Message
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

_HEAD = struct.Struct("<2sHB3x")
_LENGTH = struct.Struct("<I")
_GZIP = 1
_MAX_INFLATED = 1 << 30
_EITHER_HEADER = 47
"""zlib's window bits that accept gzip's header and zlib's."""


def read_nodes(files: dict[str, bytes], n_shards: int, node_format: str) -> Iterator[Message]:
    """Yield the nodes of all shards in order; ModelUnreadableError if one is missing or damaged."""
    if not node_format.startswith("BLOB_SEQUENCE"):
        raise UnsupportedModelError(
            f"the YDF model has its nodes in the format {node_format}; load it with ydf and save it again, which writes blob "
            "sequences"
        )
    for shard in range(n_shards):
        name = f"nodes-{shard:05d}-of-{n_shards:05d}"
        if name not in files:
            raise ModelUnreadableError(f"the YDF model has no file {name}; copy its directory again")
        for index, blob in enumerate(_blobs(files[name], name)):
            yield Message(blob, f"node {index} of {name}")


def _blobs(content: bytes, name: str) -> Iterator[bytes]:
    damaged = ModelUnreadableError(f"the YDF model is damaged: {name} is cut off or no sequence of nodes")
    if len(content) < _HEAD.size:
        raise damaged
    magic, version, compression = _HEAD.unpack_from(content)
    if magic != b"BS" or version > 1 or compression > _GZIP:
        raise damaged
    rest = content[_HEAD.size :]
    if version and compression == _GZIP:
        inflater = zlib.decompressobj(_EITHER_HEADER)
        try:
            rest = inflater.decompress(rest, _MAX_INFLATED)
        except zlib.error as error:
            raise damaged from error
        if not inflater.eof:
            raise damaged
    at = 0
    while at < len(rest):
        if len(rest) - at < _LENGTH.size:
            raise damaged
        (size,) = _LENGTH.unpack_from(rest, at)
        at += _LENGTH.size
        if size > len(rest) - at:
            raise damaged
        yield rest[at : at + size]
        at += size
