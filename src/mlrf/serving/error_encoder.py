"""Error responses: one shape for every error, and a log line for unexpected exceptions."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from mlrf.core.errors import FeaturesUnavailableError, InvalidStoredRowError, MlrfError
from mlrf.serving.error_status import INTERNAL, ErrorStatus, error_status_of
from mlrf.serving.telemetry.logs import Log

_QUIET_S = 1.0
"""Seconds between two log lines of one event about a feature store; metrics count all of them."""
_encode = msgspec.json.encode


def _count_nothing(_code: str, _route: int) -> None:
    pass


class ErrorEncoder:
    """Turns errors into responses; an unexpected exception is logged, and its response says only the request id."""

    def __init__(self, log: Log, count: Callable[[str, int], object] = _count_nothing) -> None:
        """`count` takes the code of each error and the number of the request's route."""
        self._log = log
        self._count = count
        self._log_again_s: dict[str, float] = {}

    def __call__(self, error: Exception, request_id: bytes, route: int = 0) -> tuple[int, bytes, bytes]:
        """Return status, body and header lines."""
        status, code, message = self.report(error, request_id, route)
        details, headers = {}, b""
        if status is not INTERNAL and isinstance(error, MlrfError):
            details, headers = error.details, status.headers(error)
        document = {"error": message, "code": code, "details": details, "request_id": request_id.decode("ascii")}
        return status.http, _encode(document), headers

    def report(self, error: Exception, request_id: bytes, route: int = 0) -> tuple[ErrorStatus, str, str]:
        """Count an error, log it if it is an unexpected exception, and return its status, code and message."""
        status = error_status_of(error)
        if status is INTERNAL or not isinstance(error, MlrfError):
            self._log.error("request failed", request_id=request_id.decode("ascii"), fault=error)
            status, code, message = INTERNAL, "INTERNAL", "internal error"
        else:
            code, message = error.code, str(error)
            if isinstance(error, InvalidStoredRowError):
                self._log_store("stored row refused", message, request_id)
            elif isinstance(error, FeaturesUnavailableError) and error.reason:
                self._log_store("feature store failed", error.explained, request_id)
        self._count(code, route)
        return status, code, message

    def _log_store(self, event: str, reason: str, request_id: bytes) -> None:
        now_s = time.monotonic()
        if now_s >= self._log_again_s.get(event, 0.0):
            self._log_again_s[event] = now_s + _QUIET_S
            self._log.warning(event, request_id=request_id.decode("ascii"), reason=reason)
