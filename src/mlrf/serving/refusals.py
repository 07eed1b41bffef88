"""From a fault to an answer: the one table of error class and HTTP status, and the one shape that errors have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from mlrf.core import errors
from mlrf.core.errors import MlrfError
from mlrf.serving.sight.logs import Log

STATUSES: dict[type[MlrfError], int] = {
    errors.MalformedRequestError: 400,
    errors.UnauthenticatedError: 401,
    errors.NotPermittedError: 403,
    errors.RouteNotFoundError: 404,
    errors.ModelNotFoundError: 404,
    errors.KeyNotFoundError: 404,
    errors.MethodNotAllowedError: 405,
    errors.RequestTimeoutError: 408,
    errors.ReloadRefusedError: 409,
    errors.SchemaChangedError: 409,
    errors.LengthRequiredError: 411,
    errors.BodyTooLargeError: 413,
    errors.BatchTooLargeError: 413,
    errors.UnsupportedMediaTypeError: 415,
    errors.ExpectationFailedError: 417,
    errors.InvalidRequestError: 422,
    errors.HeadersTooLargeError: 431,
    errors.NotReadyError: 503,
    errors.FeaturesUnavailableError: 503,
    errors.OverloadedError: 503,
    errors.DeadlineExceededError: 504,
}
INTERNAL = 500

_encode = msgspec.json.encode


def _codes(kind: type[MlrfError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


CODES = (*sorted(_codes(errors.RequestError).union(*map(_codes, STATUSES))), "INTERNAL")
"""Every code that an answer can carry."""


def status_of(fault: Exception) -> int:
    """Return the HTTP status of a fault: its class's, or the nearest ancestor's; 500 for what no table foresees."""
    for ancestor in type(fault).__mro__:
        status = STATUSES.get(ancestor)
        if status is not None:
            return status
    return INTERNAL


class Refusals:
    """Turns faults into answers; what nobody foresaw is logged whole and answered with nothing but its id."""

    def __init__(self, log: Log, counts: Mapping[str, Callable[[int], None]] | None = None) -> None:
        """Count by code with `counts`, where there are any."""
        self._log = log
        self._counts = counts

    def __call__(self, fault: Exception, request_id: bytes) -> tuple[int, bytes, bytes]:
        """Return status, body and header lines."""
        status = status_of(fault)
        identity = request_id.decode("ascii")
        if status == INTERNAL or not isinstance(fault, MlrfError):
            self._count("INTERNAL")
            self._log.error("request failed", request_id=identity, fault=fault)
            document = {"error": "internal error", "code": "INTERNAL", "details": {}, "request_id": identity}
            return INTERNAL, _encode(document), b""
        self._count(fault.code)
        document = {"error": str(fault), "code": fault.code, "details": fault.details, "request_id": identity}
        return status, _encode(document), _header_lines(fault)

    def _count(self, code: str) -> None:
        if self._counts is not None:
            self._counts[code](1)


def _header_lines(fault: MlrfError) -> bytes:
    if isinstance(fault, errors.MethodNotAllowedError):
        return b"Allow: %b\r\n" % ", ".join(fault.details["allow"]).encode()
    if isinstance(fault, errors.UnauthenticatedError):
        return b'WWW-Authenticate: Bearer realm="mlrf"\r\n'
    if isinstance(fault, errors.NotPermittedError):
        return (
            b'WWW-Authenticate: Bearer realm="mlrf", error="insufficient_scope", scope="%b"\r\n'
            % fault.details["scope"].encode()
        )
    if isinstance(fault, errors.NotReadyError | errors.OverloadedError | errors.FeaturesUnavailableError):
        return b"Retry-After: 1\r\n"
    return b""
