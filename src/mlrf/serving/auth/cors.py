"""Cross-origin requests of browsers (the Fetch standard, 3.2): off unless origins are named."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from mlrf.core.lazy_pattern import lazy_pattern

if TYPE_CHECKING:
    from mlrf.serving.http.head import Head  # the settings need the check of origins alone

_ORIGIN = lazy_pattern(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?|\*")
_EXPOSED = (
    b"Access-Control-Expose-Headers: X-Request-ID, Server-Timing, Retry-After, Inference-Header-Content-Length\r\n"
)
_PREFLIGHT = (
    b"Access-Control-Allow-Methods: GET, POST\r\n"
    b"Access-Control-Allow-Headers: Authorization, Content-Type, Content-Encoding, X-Request-ID, X-Request-Timeout-Ms, "
    b"Inference-Header-Content-Length\r\n"
    b"Access-Control-Max-Age: 600\r\n"
)


def check_origin(origin: str) -> str | None:
    """Return what is wrong with an origin, None when nothing is."""
    if _ORIGIN.fullmatch(origin):
        return None
    return f"{origin!r} is neither an origin as browsers send it (https://app.example, in lower case, no path) nor *"


class Cors:
    """The origins that may read responses. Credentials of a browser (cookies) are not allowed: a page sends its key itself."""

    def __init__(self, origins: Collection[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def lines(self, head: Head) -> bytes:
        """Return the header lines of any response to this head."""
        if self._any:
            return b"Access-Control-Allow-Origin: *\r\n" + _EXPOSED
        if head.origin not in self._origins:
            return b"Vary: Origin\r\n"
        return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n%b" % (head.origin, _EXPOSED)

    def preflight(self, head: Head) -> bytes | None:
        """Return the header lines of the response to a preflight of an allowed origin, None for any other request."""
        is_preflight = head.method == b"OPTIONS" and head.requested_method is not None
        if not is_preflight or not (self._any or head.origin in self._origins):
            return None
        return self.lines(head) + _PREFLIGHT
