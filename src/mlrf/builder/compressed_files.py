"""Decompresses model files (gzip, bzip2, zstd, xz, zlib), up to a limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from mlrf.core.errors import ModelUnreadableError

_MIN_BYTES, _MOST_TIMES, _MAX_BYTES = 64 << 20, 200, 4 << 30
_CHUNK_BYTES = 1 << 20
ZLIB = (b"x\x01", b"x^", b"x\x9c", b"x\xda")
"""The headers of zlib's four levels, with which joblib compresses pickles."""


def decompressed(path: Path, content: bytes) -> bytes:
    """Return the decompressed content of a compressed file, and the bytes of any other file.

    ModelUnreadableError if it is damaged, or expands to more than both 64 MiB and 200 times its size.
    """
    found = next(((name, opened) for name, starts, opened in _FORMATS if content.startswith(starts)), None)
    if found is None:
        return content
    name, opened = found
    most = min(_MAX_BYTES, max(_MIN_BYTES, _MOST_TIMES * len(content)))
    parts: list[bytes] = []
    size = 0
    try:
        with opened(content) as stream:
            while part := stream.read(_CHUNK_BYTES):
                size += len(part)
                if size > most:
                    raise ModelUnreadableError(
                        f"the model file {path} ({name}) decompresses to more than {most >> 20} MiB; decompress it yourself"
                    )
                parts.append(part)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise ModelUnreadableError(
            f"the model file {path} looks like {name} but cannot be decompressed: {error}; copy it again"
        ) from error
    return b"".join(parts)


def _gzip(content: bytes) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=io.BytesIO(content))


def _bzip2(content: bytes) -> bz2.BZ2File:
    return bz2.BZ2File(io.BytesIO(content))


def _xz(content: bytes) -> lzma.LZMAFile:
    return lzma.LZMAFile(io.BytesIO(content))


def _zstd(content: bytes) -> Any:
    import pyarrow as pa  # noqa: PLC0415  Python 3.11 has no zstd

    return pa.CompressedInputStream(pa.BufferReader(content), "zstd")


class _ZlibStream:
    """A readable stream in zlib's format (RFC 1950), for which the standard library has no file class."""

    def __init__(self, content: bytes) -> None:
        self._file, self._decoder = io.BytesIO(content), zlib.decompressobj()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Return 1 to `size` bytes, none at the end; EOFError when the stream is cut off."""
        part = b""
        while not part and not self._decoder.eof:
            coded = self._decoder.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            part = self._decoder.decompress(coded, size)
            if not (coded or part):
                raise EOFError("the stream ends before its end marker")
        return part


_FORMATS: tuple[tuple[str, tuple[bytes, ...], Callable[[bytes], Any]], ...] = (
    ("gzip", (b"\x1f\x8b",), _gzip),
    ("bzip2", (b"BZh",), _bzip2),
    ("xz", (b"\xfd7zXZ", b"]\x00\x00"), _xz),
    ("zstd", (b"\x28\xb5\x2f\xfd",), _zstd),
    ("zlib", ZLIB, _ZlibStream),
)
