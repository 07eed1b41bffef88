"""JSON bodies that are declared as a form, which is what `curl -d` declares without a header.

KServe's servers do not look at the type of a body of `:predict`, and its documentation sends bodies so. A form itself is not
JSON, and is refused as that.
"""

from __future__ import annotations

from mlrf.serving.http.head import Head
from mlrf.serving.runtime.results import Handler

_FORM = b"application/x-www-form-urlencoded"


def fit(handler: Handler, head: Head, _max_body_bytes: int) -> Handler | None:
    """Return the handler of a plain body that is declared as a form; None for others, which must be declared as JSON."""
    kind = (head.content_type or b"").partition(b";")[0].strip().lower()
    return handler if kind == _FORM and head.content_encoding is None else None
