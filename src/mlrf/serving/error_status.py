"""From a fault to an answer: the one table of error class, HTTP status and gRPC code, and the one shape that errors have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from mlrf.core import errors
from mlrf.core.errors import MlrfError
from mlrf.serving.telemetry.logs import Log


class ErrorStatus(NamedTuple):
    """How a transport tells of a fault: HTTP by status, gRPC by the name of a code."""

    http: int
    grpc: str


TABLE: dict[type[MlrfError], ErrorStatus] = {
    errors.MalformedRequestError: ErrorStatus(400, "INVALID_ARGUMENT"),
    errors.UnauthenticatedError: ErrorStatus(401, "UNAUTHENTICATED"),
    errors.NotPermittedError: ErrorStatus(403, "PERMISSION_DENIED"),
    errors.RouteNotFoundError: ErrorStatus(404, "UNIMPLEMENTED"),
    errors.ModelNotFoundError: ErrorStatus(404, "NOT_FOUND"),
    errors.KeyNotFoundError: ErrorStatus(404, "NOT_FOUND"),
    errors.MethodNotAllowedError: ErrorStatus(405, "UNIMPLEMENTED"),
    errors.RequestTimeoutError: ErrorStatus(408, "DEADLINE_EXCEEDED"),
    errors.ReloadRefusedError: ErrorStatus(409, "FAILED_PRECONDITION"),
    errors.SchemaChangedError: ErrorStatus(409, "FAILED_PRECONDITION"),
    errors.LengthRequiredError: ErrorStatus(411, "INVALID_ARGUMENT"),
    errors.BodyTooLargeError: ErrorStatus(413, "RESOURCE_EXHAUSTED"),
    errors.BatchTooLargeError: ErrorStatus(413, "INVALID_ARGUMENT"),
    errors.UnsupportedMediaTypeError: ErrorStatus(415, "INVALID_ARGUMENT"),
    errors.ExpectationFailedError: ErrorStatus(417, "INVALID_ARGUMENT"),
    errors.InvalidRequestError: ErrorStatus(422, "INVALID_ARGUMENT"),
    errors.StaleFeaturesError: ErrorStatus(422, "FAILED_PRECONDITION"),
    errors.HeadersTooLargeError: ErrorStatus(431, "RESOURCE_EXHAUSTED"),
    errors.NotReadyError: ErrorStatus(503, "UNAVAILABLE"),
    errors.FeaturesUnavailableError: ErrorStatus(503, "UNAVAILABLE"),
    errors.OverloadedError: ErrorStatus(503, "UNAVAILABLE"),
    errors.DeadlineExceededError: ErrorStatus(504, "DEADLINE_EXCEEDED"),
}
"""By class of error; a class without a line has its nearest ancestor's."""
STATUSES = {kind: told.http for kind, told in TABLE.items()}
INTERNAL = 500
_UNFORESEEN = ErrorStatus(INTERNAL, "INTERNAL")

_encode = msgspec.json.encode


def _codes(kind: type[MlrfError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


CODES = (*sorted(_codes(errors.RequestError).union(*map(_codes, STATUSES))), "INTERNAL")
"""Every code that an answer can carry."""


def error_status_of(fault: Exception) -> ErrorStatus:
    """Return how a fault is told: as its class, or the nearest ancestor of it; as internal what no table foresees."""
    for ancestor in type(fault).__mro__:
        told = TABLE.get(ancestor)
        if told is not None:
            return told
    return _UNFORESEEN


class ErrorEncoder:
    """Turns faults into answers; what nobody foresaw is logged whole and answered with nothing but its id."""

    def __init__(self, log: Log, counts: Mapping[str, Callable[[int], None]] | None = None) -> None:
        """Count by code with `counts`, where there are any."""
        self._log = log
        self._counts = counts

    def __call__(self, fault: Exception, request_id: bytes) -> tuple[int, bytes, bytes]:
        """Return status, body and header lines."""
        told, code, sentence = self.tell(fault, request_id)
        identity = request_id.decode("ascii")
        if told is _UNFORESEEN or not isinstance(fault, MlrfError):
            document = {"error": sentence, "code": code, "details": {}, "request_id": identity}
            return told.http, _encode(document), b""
        document = {"error": sentence, "code": code, "details": fault.details, "request_id": identity}
        return told.http, _encode(document), _header_lines(fault)

    def tell(self, fault: Exception, request_id: bytes) -> tuple[ErrorStatus, str, str]:
        """Count a fault, log it if nobody foresaw it, and return how it is told, its code and its sentence."""
        told = error_status_of(fault)
        if told is _UNFORESEEN or not isinstance(fault, MlrfError):
            self._log.error("request failed", request_id=request_id.decode("ascii"), fault=fault)
            told, code, sentence = _UNFORESEEN, "INTERNAL", "internal error"
        else:
            code, sentence = fault.code, str(fault)
        if self._counts is not None:
            self._counts[code](1)
        return told, code, sentence


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
