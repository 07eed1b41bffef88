"""Parser of a request head (request line and headers): llhttp plus stricter rules.

Refused here although llhttp accepts them: several spaces in the request line; a missing, repeated or invalid Host;
Transfer-Encoding on HTTP/1.0 or other than `chunked`; Content-Length and Transfer-Encoding. Each is a known way of request
smuggling. CONNECT and targets of other schemes are refused, because this is not a proxy. llhttp itself refuses folded lines,
NUL, bare CR and bare LF; the last two are checked here for a clearer message.
"""

from __future__ import annotations

import re

import httptools
import msgspec

from mlrf.core.errors import ExpectationFailedError, HeadersTooLargeError, MalformedRequestError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.runtime.request_runtime import REQUEST_ID

END = b"\r\n\r\n"
METHOD_STARTS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HOST = lazy_pattern(rb"(?:\[[0-9A-Za-z._~:%+-]+\]|[!$%&'()*+,;=0-9A-Za-z._~-]*)(?::[0-9]{0,5})?")
"""A host and a port (RFC 3986, 3.2); anything else is to be answered with 400 (RFC 9112, 3.2)."""
_ABSOLUTE = lazy_pattern(
    rb"[Hh][Tt][Tt][Pp][Ss]?://(?:\[[0-9A-Za-z._~:%+-]+\]|[!$%&'()*+,;=0-9A-Za-z._~-]+)(?::[0-9]{1,5})?(?:[/?].*)?",
    re.DOTALL,
)
"""A target in absolute form: http or https, with a host and without user information (RFC 9110, 4.2; RFC 9112, 3.2.2)."""
_SPACES = 2
_KNOWN = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"access-control-request-method",
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"inference-header-content-length",
        b"traceparent",
        b"origin",
        b"transfer-encoding",
        b"x-amzn-sagemaker-custom-attributes",
        b"x-request-id",
        b"x-request-timeout-ms",
    )
)
_ONCE = (
    b"authorization",
    b"origin",
    b"host",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"expect",
    b"x-request-id",
    b"x-request-timeout-ms",
    b"inference-header-content-length",
)


def has_bare_lf(data: bytes, start: int = 0) -> bool:
    """Return whether a line ends with LF alone.

    It counts twice instead of using a regular expression, which took a millisecond: a head that arrives byte by byte is
    searched after each byte.
    """
    return data.count(b"\n", start) != data.count(b"\r\n", start)


class Head(msgspec.Struct, frozen=True):
    """The parsed head of one request. `target` is the request target as sent; absent headers are None."""

    method: bytes
    target: bytes
    keep_alive: bool
    is_http10: bool
    content_length: int | None
    chunked: bool
    content_type: bytes | None
    content_encoding: bytes | None
    expects_continue: bool
    request_id: bytes | None
    timeout_ms: bytes | None = None
    traceparent: bytes | None = None
    authorization: bytes | None = None
    origin: bytes | None = None
    requested_method: bytes | None = None
    """The method of a CORS preflight (Access-Control-Request-Method)."""
    inference_header_bytes: bytes | None = None
    """Bytes of JSON at the start of a binary inference body (Inference-Header-Content-Length)."""
    accept_encoding: bytes | None = None
    accept: bytes | None = None
    host: bytes | None = None
    custom_attributes: bytes | None = None
    """Text that SageMaker passes from the caller to the model and back (X-Amzn-SageMaker-Custom-Attributes)."""

    @property
    def is_repeatable(self) -> bool:
        """Return whether the parsed head may be cached: it holds nothing specific to one request."""
        return (
            not (self.chunked or self.expects_continue or self.request_id or self.traceparent or self.is_http10)
            and self.custom_attributes is None
            and self.keep_alive
        )


def parse_head(raw: bytes, max_fields: int) -> Head:
    """Parse a head, including its final empty line.

    Raises MalformedRequestError, HeadersTooLargeError or ExpectationFailedError; after any of them the connection must close.
    """
    if has_bare_lf(raw) or raw.count(b"\r") != raw.count(b"\r\n"):
        raise MalformedRequestError("the request head contains a bare CR or LF; end lines with CR LF")
    if raw.count(b" ", 0, raw.find(b"\r\n")) != _SPACES:
        raise MalformedRequestError("the request line is not a method, a target and a version, one space between them")
    reading = _Reading(max_fields)
    parser = httptools.HttpRequestParser(reading)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        # An upgrade may be ignored (RFC 9110, 7.8): the request is answered in HTTP/1.1.
        pass
    except httptools.HttpParserError as error:
        raise MalformedRequestError(f"the request head is not HTTP/1.1: {error}") from error
    if not reading.complete or reading.begun != 1:
        raise MalformedRequestError("the request head is not HTTP/1.1")
    if reading.n_fields > max_fields:
        raise HeadersTooLargeError(f"the request has more than {max_fields} header fields", max_fields=max_fields)
    if b"#" in reading.target:
        raise MalformedRequestError("the request target contains a fragment (#), which a client must not send")
    if parser.get_method() == b"CONNECT":
        # What follows it is data for a tunnel, or another request, as one likes to read it.
        raise MalformedRequestError("CONNECT is for proxies, which this server is not")
    if not reading.target.startswith((b"/", b"*")) and _ABSOLUTE.fullmatch(reading.target) is None:
        raise MalformedRequestError(
            "the request target is neither a path nor an http or https URL without user information"
        )
    return _head(parser, reading)


class _Reading:
    """Collects the target and headers from llhttp's callbacks."""

    def __init__(self, max_fields: int) -> None:
        self.begun = 0
        self.complete = False
        self.n_fields = 0
        self.target = b""
        self.fields: dict[bytes, list[bytes]] = {}
        self._max_fields = max_fields

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.n_fields += 1
        if self.n_fields <= self._max_fields and (known := name.lower()) in _KNOWN:
            # llhttp keeps trailing blanks, which are not part of a value (RFC 9110, 5.5).
            self.fields.setdefault(known, []).append(value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        self.complete = True


def _head(parser: httptools.HttpRequestParser, reading: _Reading) -> Head:
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise MalformedRequestError(f"HTTP/{version} is not supported; send HTTP/1.1")
    is_http10 = version == "1.0"
    fields = reading.fields
    for name in _ONCE:
        if len(fields.get(name, ())) > 1:
            raise MalformedRequestError(f"the request has two {name.decode()} headers")
    first = {name: values[0] for name, values in fields.items()}
    if not is_http10 and b"host" not in first:
        raise MalformedRequestError("the request has no Host header, which HTTP/1.1 requires")
    if _HOST.fullmatch(first.get(b"host", b"")) is None:
        raise MalformedRequestError("the Host header is not a host name with an optional port")
    if b"transfer-encoding" in first:
        if is_http10 or first[b"transfer-encoding"].strip().lower() != b"chunked":
            raise MalformedRequestError("the only Transfer-Encoding supported is chunked, on HTTP/1.1")
        if b"content-length" in first:
            raise MalformedRequestError("the request has both Content-Length and Transfer-Encoding; send one of them")
    expects = first.get(b"expect", b"").strip().lower()
    if expects not in (b"", b"100-continue"):
        raise ExpectationFailedError("the only Expect value supported is 100-continue")
    identity = first.get(b"x-request-id", b"")
    return Head(
        method=parser.get_method(),
        target=reading.target,
        keep_alive=_keeps_alive(b",".join(fields.get(b"connection", ())), is_http10=is_http10),
        is_http10=is_http10,
        content_length=_length(first.get(b"content-length")),
        chunked=b"transfer-encoding" in first,
        content_type=first.get(b"content-type"),
        content_encoding=first.get(b"content-encoding"),
        expects_continue=bool(expects) and not is_http10,
        request_id=identity if REQUEST_ID.fullmatch(identity) else None,
        timeout_ms=first.get(b"x-request-timeout-ms"),
        traceparent=first.get(b"traceparent"),
        authorization=first.get(b"authorization"),
        origin=first.get(b"origin"),
        host=first.get(b"host"),
        requested_method=first.get(b"access-control-request-method"),
        inference_header_bytes=first.get(b"inference-header-content-length"),
        accept_encoding=b",".join(fields.get(b"accept-encoding", ())) or None,
        accept=b",".join(fields.get(b"accept", ())) or None,
        custom_attributes=first.get(b"x-amzn-sagemaker-custom-attributes"),
    )


def _length(value: bytes | None) -> int | None:
    if value is None:
        return None
    digits = value.strip(b" \t")
    if not digits.isdigit() or len(digits) > 18:  # noqa: PLR2004  more digits than any int64 length
        raise MalformedRequestError("Content-Length is not a number")
    return int(digits)


def _keeps_alive(connection: bytes, *, is_http10: bool) -> bool:
    tokens = {token.strip().lower() for token in connection.split(b",")}
    if b"close" in tokens or b"upgrade" in tokens:
        return False
    return b"keep-alive" in tokens if is_http10 else True
