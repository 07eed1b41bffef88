"""The files of the page, read at their first use: a server whose page is never opened reads none of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
_SCRIPT = b"text/javascript; charset=utf-8"
CONTENT_TYPES = {
    INDEX: b"text/html; charset=utf-8",
    "style.css": b"text/css; charset=utf-8",
    "answer.js": _SCRIPT,
    "api.js": _SCRIPT,
    "app.js": _SCRIPT,
    "batches.js": _SCRIPT,
    "changeable.js": _SCRIPT,
    "charts.js": _SCRIPT,
    "compare.js": _SCRIPT,
    "curves.js": _SCRIPT,
    "dom.js": _SCRIPT,
    "form.js": _SCRIPT,
    "heat.js": _SCRIPT,
    "keys.js": _SCRIPT,
    "live.js": _SCRIPT,
    "many.js": _SCRIPT,
    "metrics.js": _SCRIPT,
    "nearest.js": _SCRIPT,
    "numbers.js": _SCRIPT,
    "recent.js": _SCRIPT,
    "rows.js": _SCRIPT,
    "search.js": _SCRIPT,
    "steps.js": _SCRIPT,
    "svg.js": _SCRIPT,
    "table-file.js": _SCRIPT,
    "views.js": _SCRIPT,
    "waterfall.js": _SCRIPT,
    "whatif.js": _SCRIPT,
}
"""The content type of each file."""


@cache
def read_file(name: str) -> bytes:
    """Return the content of one of the files."""
    return (_FOLDER / name).read_bytes()
