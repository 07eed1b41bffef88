"""The status table: how each class of error is answered, over HTTP and over gRPC.

A new status is a line of TABLE and a row in docs/reference/errors.md. Responses with their status lines and headers, gRPC
codes, OpenAPI and the labels of metrics follow from the table. A class that is not in the table has the status of its nearest
ancestor.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from mlrf.core import errors
from mlrf.core.errors import MlrfError

OK = 200


def _no_headers(_error: MlrfError) -> bytes:
    return b""


def _retry_after(_error: MlrfError) -> bytes:
    return b"Retry-After: 1\r\n"


def _allow(error: MlrfError) -> bytes:
    return b"Allow: %b\r\n" % ", ".join(error.details["allow"]).encode()


def _key_challenge(_error: MlrfError) -> bytes:
    return b'WWW-Authenticate: Bearer realm="mlrf"\r\n'


def _scope_challenge(error: MlrfError) -> bytes:
    if "scope" not in error.details:  # no key would help
        return b""
    return (
        b'WWW-Authenticate: Bearer realm="mlrf", error="insufficient_scope", scope="%b"\r\n'
        % error.details["scope"].encode()
    )


class Routes(Enum):
    """The routes whose requests can get a status."""

    ALL = "all"
    WITH_BODY = "those whose requests have a body"
    ADMIN = "those that change the server"


class ErrorStatus(msgspec.Struct, frozen=True):
    """The status of a class of errors."""

    http: int
    reason: str
    """The reason phrase (RFC 9110). Importing `http`, which has most of them, takes 1 % of a start."""
    grpc: str
    """The name of a gRPC status code."""
    description: str
    """What it means, for the OpenAPI document."""
    headers: Callable[[MlrfError], bytes] = _no_headers
    """The header lines of its HTTP response."""
    routes: Routes = Routes.ALL


TABLE: dict[type[MlrfError], ErrorStatus] = {
    errors.MalformedRequestError: ErrorStatus(
        400, "Bad Request", "INVALID_ARGUMENT", "Malformed HTTP, JSON or binary tensors"
    ),
    errors.UnauthenticatedError: ErrorStatus(401, "Unauthorized", "UNAUTHENTICATED", "A key is needed", _key_challenge),
    errors.NotPermittedError: ErrorStatus(
        403, "Forbidden", "PERMISSION_DENIED", "The key lacks a scope", _scope_challenge
    ),
    errors.RouteNotFoundError: ErrorStatus(404, "Not Found", "UNIMPLEMENTED", "No such route"),
    errors.ModelNotFoundError: ErrorStatus(404, "Not Found", "NOT_FOUND", "No such model or version"),
    errors.KeyNotFoundError: ErrorStatus(404, "Not Found", "NOT_FOUND", "No row under this key"),
    errors.MethodNotAllowedError: ErrorStatus(
        405, "Method Not Allowed", "UNIMPLEMENTED", "The route does not take this method", _allow
    ),
    errors.RequestTimeoutError: ErrorStatus(
        408, "Request Timeout", "DEADLINE_EXCEEDED", "The request took too long to arrive"
    ),
    errors.ReloadRefusedError: ErrorStatus(
        409, "Conflict", "FAILED_PRECONDITION", "The version was not loaded", routes=Routes.ADMIN
    ),
    errors.SchemaChangedError: ErrorStatus(
        409, "Conflict", "FAILED_PRECONDITION", "The version has another schema", routes=Routes.ADMIN
    ),
    errors.LengthRequiredError: ErrorStatus(
        411, "Length Required", "INVALID_ARGUMENT", "The request declares no length", routes=Routes.WITH_BODY
    ),
    errors.BodyTooLargeError: ErrorStatus(
        413, "Content Too Large", "RESOURCE_EXHAUSTED", "Too many bytes", routes=Routes.WITH_BODY
    ),
    errors.BatchTooLargeError: ErrorStatus(
        413, "Content Too Large", "INVALID_ARGUMENT", "Too many instances or rows", routes=Routes.WITH_BODY
    ),
    errors.UnsupportedMediaTypeError: ErrorStatus(
        415,
        "Unsupported Media Type",
        "INVALID_ARGUMENT",
        "A content type or encoding that this route does not accept",
        routes=Routes.WITH_BODY,
    ),
    errors.ExpectationFailedError: ErrorStatus(
        417, "Expectation Failed", "INVALID_ARGUMENT", "An expectation other than 100-continue"
    ),
    errors.InvalidRequestError: ErrorStatus(
        422,
        "Unprocessable Content",
        "INVALID_ARGUMENT",
        "Well-formed, but not valid for the model",
        routes=Routes.WITH_BODY,
    ),
    errors.StaleFeaturesError: ErrorStatus(
        422, "Unprocessable Content", "FAILED_PRECONDITION", "The stored row is too old", routes=Routes.WITH_BODY
    ),
    errors.HeadersTooLargeError: ErrorStatus(
        431, "Request Header Fields Too Large", "RESOURCE_EXHAUSTED", "Headers too large"
    ),
    errors.NotReadyError: ErrorStatus(503, "Service Unavailable", "UNAVAILABLE", "Starting or stopping", _retry_after),
    errors.FeaturesUnavailableError: ErrorStatus(
        503, "Service Unavailable", "UNAVAILABLE", "No answer from the feature store", _retry_after
    ),
    errors.OverloadedError: ErrorStatus(
        503, "Service Unavailable", "UNAVAILABLE", "More requests than can be answered in time", _retry_after
    ),
    errors.DeadlineExceededError: ErrorStatus(
        504, "Gateway Timeout", "DEADLINE_EXCEEDED", "The deadline of the request has passed"
    ),
}
INTERNAL = ErrorStatus(500, "Internal Server Error", "INTERNAL", "Internal error; the log has the request id")
"""The status of every exception that is not in the table."""


def error_status_of(error: Exception) -> ErrorStatus:
    """Return the status of an error: that of its class or its nearest ancestor in the table, otherwise INTERNAL."""
    for ancestor in type(error).__mro__:
        status = TABLE.get(ancestor)
        if status is not None:
            return status
    return INTERNAL


def reason_phrases() -> dict[int, str]:
    """Return every status that a response can have with its reason phrase, ascending."""
    of_errors = {each.http: each.reason for each in (*TABLE.values(), INTERNAL)}
    return dict(sorted({OK: "OK", **of_errors}.items()))


def http_statuses() -> tuple[int, ...]:
    """Return every status that a response can have, ascending."""
    return tuple(reason_phrases())


def codes() -> tuple[str, ...]:
    """Return every code that an error response can carry."""
    return (*sorted(_codes(errors.RequestError).union(*map(_codes, TABLE))), "INTERNAL")


def descriptions(*, has_body: bool, is_admin: bool) -> dict[int, str]:
    """Return what each error status means that requests to a route can get, by HTTP status, ascending."""
    possible = {Routes.ALL} | ({Routes.WITH_BODY} if has_body else set()) | ({Routes.ADMIN} if is_admin else set())
    by_status: dict[int, list[str]] = {}
    for each in (*TABLE.values(), INTERNAL):
        if each.routes in possible:
            by_status.setdefault(each.http, []).append(each.description)
    return {status: "; ".join(by_status[status]) for status in sorted(by_status)}


def _codes(kind: type[MlrfError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))
