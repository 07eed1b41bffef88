"""Text files as streams, decompressed if their name ends in `.gz`, and how far they have been read."""

from __future__ import annotations

import io
import zlib
from typing import Any

from mlrf.scoring.input_files import InputFile

_CHUNK_BYTES = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


class TextStream(io.RawIOBase):
    """The decompressed bytes of a file; `read_bytes` counts those that were read of the file itself, `n_quotes` the quotes."""

    def __init__(self, file: InputFile) -> None:
        super().__init__()
        self._file = file.open()
        self._file.seek(0)
        self._gzip = zlib.decompressobj(_GZIP) if file.path.extension.endswith(".gz") else None
        self._ready = b""
        self.read_bytes = 0
        self.n_quotes = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of a buffer and return its size; 0 at the end. OSError if the compressed data is damaged."""
        while not self._ready:
            chunk = self._file.read(_CHUNK_BYTES)
            self.read_bytes += len(chunk)
            if self._gzip is None:
                self._ready = chunk
            else:
                self._ready = self._decompressed(chunk)
            if not chunk and not self._ready:
                return 0
            self.n_quotes += self._ready.count(b'"')
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _decompressed(self, chunk: bytes) -> bytes:
        try:
            if not chunk:
                if (
                    self._gzip is not None
                    and self._gzip.unconsumed_tail == b""
                    and not self._gzip.eof
                    and self.read_bytes
                ):
                    raise OSError(None, "the compressed data ends too early")
                return b""
            found = b""
            while chunk:
                if self._gzip is None or self._gzip.eof:
                    self._gzip = zlib.decompressobj(_GZIP)
                found += self._gzip.decompress(chunk)
                # A gzip file may have several members, one after the other.
                chunk = self._gzip.unused_data
                # As gzip does: a file from a tape or an archive is padded with zeros.
                if self._gzip.eof:
                    chunk = chunk.lstrip(b"\0")
        except zlib.error as error:
            raise OSError(None, f"the compressed data is damaged ({error})") from error
        return found
