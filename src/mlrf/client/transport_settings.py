"""`TransportSettings`: the settings of both clients' transports, their checks, and how they change a request."""

from __future__ import annotations

import gzip
import math
import re
import ssl
from dataclasses import dataclass, field
from numbers import Real
from time import monotonic

from mlrf.client.http_messages import Request
from mlrf.core.errors import ConfigError

_LEAST_GZIP_BYTES = 1024
_LONGEST_S = 99_999.0
"""The longest time that the header X-Request-Timeout-Ms can give."""
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """How requests to one server are sent; `ConfiguredClient` documents the fields."""

    key: str | None = field(repr=False)
    timeout_s: float
    retries: int
    ca_file: str | None
    compress: bool

    def __post_init__(self) -> None:
        """ConfigError for a setting with which no request can be sent."""
        if self.key is not None and not _TOKEN.fullmatch(self.key):
            raise ConfigError(
                "key: has a character that a header cannot have, such as the line end of the file that it was read from; "
                "pass key.strip()"
            )
        _checked_s(self.timeout_s)
        if self.retries < 0:
            raise ConfigError(f"retries: is {self.retries}; give 0 or more")

    def tls_context(self) -> ssl.SSLContext:
        """Return what checks the server's certificate; ConfigError if `ca_file` has no certificates."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"ca_file: {self.ca_file!r} cannot be read as certificates in PEM ({error.strerror or error})"
            ) from error

    def deadline_s(self, timeout_s: float | None = None) -> float:
        """Return the deadline (`time.monotonic`) of a call that starts now, from its own timeout or the client's."""
        return monotonic() + _checked_s(self.timeout_s if timeout_s is None else timeout_s)

    def prepared(self, request: Request) -> Request:
        """Return a request with the header of the key added, and its body compressed if `compress` is set."""
        method, path, body, headers = request
        if self.key is not None:
            headers = {"Authorization": f"Bearer {self.key}", **headers}
        if body is not None and self.compress and len(body) >= _LEAST_GZIP_BYTES:
            body = gzip.compress(body, 1)
            headers = {**headers, "Content-Encoding": "gzip"}
        return Request(method, path, body, headers)


def _checked_s(timeout_s: float) -> float:
    """Return a timeout, or the longest that there is; ConfigError if it is not a number."""
    if not isinstance(timeout_s, Real) or math.isnan(timeout_s):
        raise ConfigError(f"timeout_s: is {timeout_s!r}; give a number of seconds, or math.inf for no limit of yours")
    return min(float(timeout_s), _LONGEST_S)
