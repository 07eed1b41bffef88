"""Extracts long arrays of numbers from a JSON document before the rest is decoded in one call.

Eight megabytes of JSON block the interpreter for 15 ms even if their values are only skipped; finding the end of an array of
numbers takes one.
"""

from __future__ import annotations

from secrets import token_hex
from typing import NamedTuple

from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.runtime.thresholds import JSON_PIECE_BYTES

_KEY = b'"data"'
_DATA_ARRAY = lazy_pattern(rb'"data"\s*:\s*\[')
_TOKEN = token_hex(16).encode()
"""Random, so that no client can write the placeholder of an array."""


class CutDocument(NamedTuple):
    """A document, and the arrays that were taken out of it, by placeholder."""

    document: bytes | memoryview
    arrays: dict[bytes, bytes]


def cut_number_arrays(document: bytes) -> CutDocument:
    """Return a document without the long arrays of numbers in its members `data`.

    The arrays are not checked to be JSON. NaN and Infinity, which JSON lacks, are replaced by null and 1e999 in them.
    """
    arrays: dict[bytes, bytes] = {}
    parts, copied_to, searched_to = [], 0, 0
    while (found := document.find(_KEY, searched_to)) >= 0:
        searched_to = found + len(_KEY)
        match = _DATA_ARRAY.match(document, found)
        if match is None:
            continue
        start = match.end() - 1
        # Numbers contain no quote or brace, so the array ends with the last bracket before the next quote or brace.
        quote = document.find(b'"', start)
        brace = document.find(b"}", start, len(document) if quote < 0 else quote)
        end = document.rfind(b"]", start, max(start, quote if brace < 0 else brace)) + 1
        if end - start <= JSON_PIECE_BYTES:
            continue
        name = b'"%b %d"' % (_TOKEN, len(arrays))
        arrays[name] = document[start:end].replace(b"NaN", b"null").replace(b"Infinity", b"1e999")
        parts += [document[copied_to:start], name]
        copied_to = searched_to = end
    return CutDocument(b"".join([*parts, document[copied_to:]]) if parts else document, arrays)
