"""Header blocks: HPACK (RFC 7541) decoded by the library `hpack`, checked by RFC 9113, and cached by their bytes.

A client that repeats a call sends the same few bytes for its headers. Bytes that leave the compression table as it was mean the
same until a block changes it, so they are decoded once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from hpack import Decoder, HPACKError

from mlrf.serving.http2.wire_frames import ErrorCode, ProtocolError, StreamError

_MAX_DECODED_BYTES = 64 << 10
"""A longer list ends the connection: it is not decoded to its end, so the compression table is lost."""
_FIELD_BYTES = 32
_MAX_CACHED = 16
_MAX_CACHED_BLOCK_BYTES, _MAX_CACHED_LIST_BYTES = 512, 2 << 10
"""Longer headers are decoded each time: a cache of them on each of many connections would be gigabytes."""
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BAD_VALUE = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_SCHEMES = (b"http", b"https")
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_REQUIRED = (b":method", b":scheme", b":path")
_OF_CONNECTIONS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))

Fields = list[tuple[bytes, bytes]]
_T = TypeVar("_T")


class HeaderBlocks(Generic[_T]):
    """The header blocks that one connection receives, as what `read` makes of their fields."""

    __slots__ = ("_decoder", "_known", "_read")

    def __init__(self, read: Callable[[Fields], _T]) -> None:
        """`read` gets checked fields, `:path` and the others in their order; it may raise StreamError."""
        self._decoder = Decoder(_MAX_DECODED_BYTES)
        self._known: dict[bytes, tuple[_T, int | None]] = {}
        self._read = read

    def request(self, block: bytes) -> tuple[_T, int | None]:
        """Return what a request's block means, and its content-length; ProtocolError or StreamError if it is not valid."""
        known = self._known.get(block)
        if known is not None:
            return known
        table = self._decoder.header_table
        before = table.maxsize, len(table.dynamic_entries), table.dynamic_entries[0] if table.dynamic_entries else None
        fields = self.decode(block)
        entries = table.dynamic_entries
        unchanged = before[:2] == (table.maxsize, len(entries)) and before[2] is (entries[0] if entries else None)
        if not unchanged or len(self._known) >= _MAX_CACHED:
            self._known.clear()
        n_bytes = check_request(fields)
        made = self._read(fields), n_bytes
        if unchanged and len(block) <= _MAX_CACHED_BLOCK_BYTES and list_bytes(fields) <= _MAX_CACHED_LIST_BYTES:
            self._known[block] = made
        return made

    def decode(self, block: bytes) -> Fields:
        """Return the fields of any block, unchecked; ProtocolError if it is not HPACK."""
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except (HPACKError, ValueError, IndexError) as error:
            raise ProtocolError(
                ErrorCode.COMPRESSION_ERROR, "a header block is not valid HPACK, or too long"
            ) from error

    def trailers(self, block: bytes) -> None:
        """Decode the trailers of a request, whose contents no call uses; StreamError if they are malformed."""
        for name, value in self.drop(block):
            _check_field(name, value)

    def drop(self, block: bytes) -> Fields:
        """Decode a block for its changes of the compression table; return its fields, unchecked."""
        self._known.clear()
        return self.decode(block)


def check_request(fields: Fields) -> int | None:
    """Return the content-length of a request, None if it has none; StreamError if it is malformed (RFC 9113, 8.1 to 8.3)."""
    pseudo: dict[bytes, bytes] = {}
    lengths, hosts = [], []
    is_regular = False
    for name, value in fields:
        if name.startswith(b":"):
            if is_regular or name in pseudo or name not in _PSEUDO:
                raise _malformed("a pseudo-header field is unknown, repeated or out of place")
            if _BAD_VALUE.search(value) or b" " in value:
                raise _malformed("a pseudo-header field with a control character or a space")
            pseudo[name] = value
        else:
            is_regular = True
            _check_field(name, value)
            if name == b"content-length":
                lengths.append(value)
            elif name == b"host":
                hosts.append(value)
    if any(name not in pseudo for name in _REQUIRED):
        raise _malformed(":method, :scheme or :path is missing")
    _check_target(pseudo, hosts)
    if not lengths:
        return None
    # A proxy that forwards the request over HTTP/1.1 may use another of several: request smuggling.
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise _malformed("content-length is repeated, or not a number")
    return int(lengths[0])


def _check_target(pseudo: dict[bytes, bytes], hosts: list[bytes]) -> None:
    if pseudo[b":scheme"] not in _SCHEMES:
        raise _malformed(":scheme is neither http nor https")
    path = pseudo[b":path"]
    if not path.startswith(b"/") and (path != b"*" or pseudo[b":method"] != b"OPTIONS"):
        raise _malformed(":path does not begin with a slash")
    if hosts and (len(hosts) > 1 or pseudo.get(b":authority", hosts[0]).lower() != hosts[0].lower()):
        raise _malformed("host is repeated, or other than :authority")


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name) or name in _OF_CONNECTIONS:
        raise _malformed("a field name that HTTP/2 does not allow")
    if _BAD_VALUE.search(value):
        raise _malformed("a field value with a control character or outer blanks")
    if name == b"te" and value != b"trailers":
        raise _malformed("te other than trailers")


def _malformed(reason: str) -> StreamError:
    return StreamError(ErrorCode.PROTOCOL_ERROR, reason)


def list_bytes(fields: Fields) -> int:
    """Return the length of a header list as SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(len(name) + len(value) + _FIELD_BYTES for name, value in fields)


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a block of literals that no compression table remembers: it is the same bytes for every connection."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    size, prefix = len(text), 0x7F
    if size < prefix:
        return bytes((size,)) + text
    digits, left = bytearray((prefix,)), size - prefix
    while left > prefix:
        digits.append(left & prefix | 0x80)
        left >>= 7
    digits.append(left)
    return bytes(digits) + text
