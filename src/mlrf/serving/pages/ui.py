"""Serves the files of the page at `/ui`, with header lines that allow it to load from this server only.

The files contain no names of models and no values, so they need no key; the page sends the key that its reader enters.
"""

from __future__ import annotations

from mlrf.serving.http.router import Framed
from mlrf.serving.runtime.results import Handler
from mlrf.workbench.files import CONTENT_TYPES, read_file

HEADERS = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
    b"X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
    b"Cache-Control: no-cache\r\n"
)


def file_handler(name: str) -> Handler:
    """Return the handler of one of the page's files."""
    return lambda _body: Framed(read_file(name), CONTENT_TYPES[name], HEADERS)
