"""Request deadlines: parses the three ways a client can set one, and the error when it has passed.

HTTP has `X-Request-Timeout-Ms`, the Open Inference Protocol has the request parameter `timeout` (microseconds, as in Triton),
and gRPC has deadlines (`grpc-timeout`, read in oip/grpc/call_head.py). This module returns timeouts in seconds and deadlines
as times of `perf_counter`; 0 means none.
"""

from __future__ import annotations

from time import perf_counter

from mlrf.core.errors import DeadlineExceededError, InvalidRequestError, MalformedRequestError
from mlrf.core.lazy_pattern import lazy_pattern

_MILLISECONDS = lazy_pattern(rb"[0-9]{1,8}")
_MAX_MICROSECONDS = 10**11
TIMEOUT = "timeout"
"""The name of the protocol's parameter."""


def header_timeout_s(value: bytes) -> float:
    """Return the seconds in `X-Request-Timeout-Ms`; raises MalformedRequestError for an invalid value."""
    if not _MILLISECONDS.fullmatch(value) or not int(value):
        raise MalformedRequestError("X-Request-Timeout-Ms is not a whole number of milliseconds, 1 to 99999999")
    return int(value) / 1e3


def parameter_timeout_s(value: object) -> float:
    """Return the seconds in the parameter `timeout`, 0 for none; raises InvalidRequestError for an invalid value."""
    if value is None:
        return 0.0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_MICROSECONDS:
        raise InvalidRequestError(
            f"the parameter {TIMEOUT!r} must be a whole number of microseconds, 0 (no limit) to {_MAX_MICROSECONDS}",
            parameter=TIMEOUT,
        )
    return value / 1e6


def parameter_deadline_s(value: object, began_s: float) -> float:
    """Return the deadline that the parameter `timeout` gives a request that began at `began_s`; 0 for none.

    Raises DeadlineExceededError if it has passed.
    """
    timeout_s = parameter_timeout_s(value)
    if not timeout_s:
        return 0.0
    if perf_counter() > began_s + timeout_s:
        raise too_late()
    return began_s + timeout_s


def earliest(one_s: float, other_s: float) -> float:
    """Return the earlier of two deadlines; 0 stands for no deadline."""
    return min(one_s, other_s) if one_s and other_s else one_s or other_s


def too_late() -> DeadlineExceededError:
    """Return the error of a request whose deadline has passed."""
    return DeadlineExceededError(
        "the time that the caller allows (X-Request-Timeout-Ms, the parameter timeout, or the gRPC deadline) ended "
        "before the answer was computed"
    )
