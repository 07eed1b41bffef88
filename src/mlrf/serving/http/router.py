"""The router: maps a parsed head to the call of a handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

import httptools
import msgspec

from mlrf.core.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    MalformedRequestError,
    MethodNotAllowedError,
    MlrfError,
    NotPermittedError,
    OverloadedError,
    RouteNotFoundError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.http.gzip_body import unzip_short, unzip_whole
from mlrf.serving.http.head import Head
from mlrf.serving.runtime.deadlines import header_timeout_s
from mlrf.serving.runtime.observer import ObservedRequest
from mlrf.serving.runtime.results import Continued, Deferred, Handler, OnFirstUse, Result


class Framed(bytes):
    """A response body with its own content type and header lines, instead of its route's."""

    content_type: bytes
    lines: bytes

    def __new__(cls, content: bytes, content_type: bytes, lines: bytes) -> Self:
        """Return the bytes `content` with their content type and header lines."""
        answer = bytes.__new__(cls, content)
        answer.content_type = content_type
        answer.lines = lines
        return answer


Fit = Callable[[Handler, Head, int], Handler | None]
"""Takes a handler, a head and the body limit in bytes; returns a handler for the kind of body that the head declares, None for
JSON."""
Wrap = Callable[[Handler], Handler]
"""Wraps a handler for one caller, for example to enforce the scopes of its key."""
Authorize = Callable[[Head, int], Wrap | None]
"""Authorizes a head for a route number; raises UnauthenticatedError or NotPermittedError."""


JSON = b"application/json"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
PLAIN = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"

OTHER = 0
"""The route number of requests that match no route."""
_ESCAPE = lazy_pattern(rb"%([0-9A-Fa-f]{2})")
_CHARSET = lazy_pattern(rb"(?:^|;)\s*charset\s*=\s*\"?([^\s;\"]*)")


class Route(msgspec.Struct, frozen=True):
    """A path's handlers by method. `number` and `label` identify it in metrics; several paths may share them."""

    number: int
    label: str
    handlers: Mapping[bytes, Handler]
    content_type: bytes = JSON
    always: bool = False
    """Whether it answers even when the server is overloaded, as health and metrics must."""
    fit: Fit | None = None
    """Adapts the handler to other content types; None accepts JSON, plain or gzip."""
    bodiless: bool = False
    """Whether a POST may have no body and no Content-Length, as `curl -X POST` sends it."""


class Call(msgspec.Struct, frozen=True):
    """The routing decision for one head: handler, framing of the body, and whether the connection is kept alive."""

    route: int
    handler: Handler
    content_type: bytes
    content_length: int
    chunked: bool
    keep_alive: bool
    is_http10: bool
    is_head: bool
    request_id: bytes | None
    expects_continue: bool
    always: bool = False
    timeout_s: float = 0.0
    """Seconds from the first byte until the client gives up; 0 for no limit."""
    method: bytes = b""
    target: bytes = b""
    traceparent: bytes | None = None
    observed: ObservedRequest | None = None
    """The observation of this request; None if it is not sampled."""
    extra: bytes = b""
    """Header lines added to its response."""
    is_plain: bool = False
    """Whether its response has the usual head and the connection stays open; computed from the other fields."""

    def __post_init__(self) -> None:
        """Compute `is_plain`."""
        special = (
            self.is_http10
            or self.is_head
            or self.request_id
            or self.timeout_s
            or self.traceparent is not None
            or self.observed is not None
            or self.extra
        )
        msgspec.structs.force_setattr(self, "is_plain", self.keep_alive and not special)

    def observed_by(self, request: ObservedRequest) -> Self:
        """Return a copy of the call that uses the observed request's handler."""
        return msgspec.structs.replace(self, handler=request.handler, observed=request)


class Router(msgspec.Struct, frozen=True):
    """Finds the route of a target. `missing` returns a route or an error for a path that is not in the table."""

    routes: Mapping[str, Route]
    max_body_bytes: int
    missing: Callable[[str], MlrfError | Route | None] = lambda _path: None

    def call(self, head: Head, authorize: Authorize | None = None) -> Call:
        """Return the call for a head, if `authorize` permits it.

        An error that leaves the connection usable (no route, wrong method or type) becomes a call that raises it once the body
        is read. Raised here are BodyTooLargeError and LengthRequiredError, after which the connection cannot be used, errors of
        authorization, OverloadedError, which holds for this request only, and any error if the client waits for 100 Continue
        (RFC 9110, 10.1.1).
        """
        if head.content_length is not None and head.content_length > self.max_body_bytes:
            raise BodyTooLargeError(
                f"the body of {head.content_length} bytes is longer than {self.max_body_bytes}",
                max_bytes=self.max_body_bytes,
            )
        if (
            head.method in (b"POST", b"PUT", b"PATCH")
            and head.content_length is None
            and not head.chunked
            and not self._is_bodiless(head)
        ):
            raise LengthRequiredError("the request declares neither Content-Length nor Transfer-Encoding: chunked")
        number, content_type, always, timeout_s = OTHER, JSON, False, 0.0
        try:
            route = self._route(head)
            number, content_type, always = route.number, route.content_type, route.always
            wrap = None if authorize is None else authorize(head, number)
            handler = self._handler(route.handlers, head, wrap, route.fit)
            timeout_s = 0.0 if head.timeout_ms is None else header_timeout_s(head.timeout_ms)
        except (UnauthenticatedError, NotPermittedError, OverloadedError):
            raise
        except MlrfError as fault:
            if number == OTHER and authorize is not None:
                # A client without a key must not learn which routes exist.
                authorize(head, OTHER)
            if head.expects_continue:
                raise
            handler = _raising(fault)
        return Call(
            route=number,
            handler=handler,
            content_type=content_type,
            content_length=head.content_length or 0,
            chunked=head.chunked,
            keep_alive=head.keep_alive,
            is_http10=head.is_http10,
            is_head=head.method == b"HEAD",
            request_id=head.request_id,
            expects_continue=head.expects_continue,
            always=always,
            timeout_s=timeout_s,
            method=head.method,
            target=head.target,
            traceparent=head.traceparent,
        )

    def _is_bodiless(self, head: Head) -> bool:
        try:
            return self._route(head).bodiless
        except MlrfError:
            return False

    def _route(self, head: Head) -> Route:
        try:
            raw = httptools.parse_url(head.target).path or b"/"
            path = raw.decode("ascii")
            if "%" in path:
                path = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), raw).decode()
        except (httptools.HttpParserError, UnicodeDecodeError) as error:
            raise MalformedRequestError("the request target is not a URL path") from error
        route: Route | MlrfError | None = self.routes.get(path)
        if route is None:
            slash = ", but one has it without the slash at its end" if path.rstrip("/") in self.routes else ""
            route = self.missing(path) or RouteNotFoundError(
                f"no route has this path{slash}; GET /docs lists the routes"
            )
        if isinstance(route, MlrfError):
            try:
                raise route
            finally:
                # Its traceback refers to this frame and, through its callers, to the request before it on the connection and to
                # the model that answered it; with this variable they would be a cycle.
                del route
        return route

    def _handler(self, handlers: Mapping[bytes, Handler], head: Head, wrap: Wrap | None, fit: Fit | None) -> Handler:
        handler = handlers.get(b"GET" if head.method == b"HEAD" else head.method)
        if handler is None:
            allowed = sorted(method.decode() for method in handlers)
            if "GET" in allowed:
                allowed.append("HEAD")
            raise MethodNotAllowedError(f"this route accepts {', '.join(allowed)}", allow=allowed)
        if isinstance(handler, OnFirstUse):
            handler = handler.handler()
        if wrap is not None:
            handler = wrap(handler)
        if head.method in (b"GET", b"HEAD"):
            return handler
        if fit is not None and (fitted := fit(handler, head, self.max_body_bytes)) is not None:
            return fitted
        check_json(head.content_type)
        encoding = (head.content_encoding or b"identity").strip().lower()
        if encoding == b"identity":
            return handler
        if encoding == b"gzip":
            return unzipping(handler, self.max_body_bytes)
        raise UnsupportedMediaTypeError("the only Content-Encoding supported is gzip", accepted=["gzip", "identity"])


def _raising(fault: MlrfError) -> Handler:
    kind, message, details = type(fault), str(fault), fault.details

    def refuse(_body: bytes) -> bytes:
        # A new error each time: this handler is cached, and one error would keep, by its traceback, the frames of the request
        # that it was last raised for, with their bodies and the version of the model that they served.
        raise kind(message, **details)

    return refuse


def preflight_call(head: Head, lines: bytes) -> Call:
    """Return the call that answers a CORS preflight: the given header lines and an empty body."""
    return Call(
        route=OTHER,
        handler=lambda _body: b"",
        content_type=TEXT,
        content_length=head.content_length or 0,
        chunked=head.chunked,
        keep_alive=head.keep_alive,
        is_http10=head.is_http10,
        is_head=False,
        request_id=head.request_id,
        expects_continue=head.expects_continue,
        extra=lines,
    )


def refused_call(head: Head) -> Call:
    """Return the call of a head that was refused, by which its request is logged."""
    return msgspec.structs.replace(preflight_call(head, b""), content_type=JSON, method=head.method, target=head.target)


def check_json(content_type: bytes | None) -> None:
    """Raise UnsupportedMediaTypeError for a declared type other than JSON in UTF-8."""
    if content_type is None:
        return
    media_type, _, parameters = content_type.partition(b";")
    media_type = media_type.strip().lower()
    if media_type != JSON:
        csv = "; CSV goes to /invocations" if media_type == b"text/csv" else ""
        raise UnsupportedMediaTypeError(
            f"the body must be declared as JSON: send Content-Type: application/json, or no Content-Type at all{csv}",
            accepted=["application/json"],
        )
    if any(charset != b"utf-8" for charset in _CHARSET.findall(parameters.lower())):
        raise UnsupportedMediaTypeError("JSON must be UTF-8", accepted=["application/json; charset=utf-8"])


def unzipping(handler: Handler, max_bytes: int) -> Handler:
    """Return a handler of gzip bodies: short ones are decompressed at once, others in the worker thread."""

    def handle(body: bytes) -> Result:
        plain = unzip_short(body, max_bytes)
        if plain is None:
            return Continued(Deferred(lambda: unzip_whole(body, max_bytes)), handler)
        return handler(plain)

    return handle
