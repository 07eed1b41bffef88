"""The icon `/favicon.ico`, which browsers request from every server."""

from __future__ import annotations

import struct
import zlib

from mlrf.serving.pages.page_facts import PageFacts

_SIZE = 16
_BARS = ((2, 2, 7, b"\xc8\x32\x3c\xff"), (6, 7, 14, b"\xc8\x32\x3c\xff"), (10, 5, 10, b"\x2f\x6f\xb7\xff"))
"""Top, left and right in pixels, and the colour: the bars of a waterfall chart, four pixels high."""


def response(_facts: PageFacts) -> bytes:
    """Return the response with the icon."""
    return icon()


def icon() -> bytes:
    """Return the icon: an ICO file that holds a PNG of 16 x 16 pixels."""
    rows = b"".join(b"\0" + b"".join(_pixel(x, y) for x in range(_SIZE)) for y in range(_SIZE))
    head = struct.pack(">IIBBBBB", _SIZE, _SIZE, 8, 6, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    directory = struct.pack("<HHHBBBBHHII", 0, 1, 1, _SIZE, _SIZE, 0, 0, 1, 32, len(png), 22)
    return directory + png


def _pixel(x: int, y: int) -> bytes:
    for top, left, right, colour in _BARS:
        if top <= y < top + 4 and left <= x < right:
            return colour
    return bytes(4)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
