"""`TransportSettings`: the settings of both clients' transports, and how they change a request."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from time import monotonic

from mlrf.client.http_messages import Request

_LEAST_GZIP_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """How requests to one server are sent; `ConfiguredClient` documents the fields."""

    key: str | None = field(repr=False)
    timeout_s: float
    retries: int
    ca_file: str | None
    compress: bool

    def deadline_s(self, timeout_s: float | None = None) -> float:
        """Return the deadline (`time.monotonic`) of a call that starts now, from its own timeout or the client's."""
        return monotonic() + (self.timeout_s if timeout_s is None else timeout_s)

    def prepared(self, request: Request) -> Request:
        """Return a request with the header of the key added, and its body compressed if `compress` is set."""
        method, path, body, headers = request
        if self.key is not None:
            headers = {"Authorization": f"Bearer {self.key}", **headers}
        if body is not None and self.compress and len(body) >= _LEAST_GZIP_BYTES:
            body = gzip.compress(body, 1)
            headers = {**headers, "Content-Encoding": "gzip"}
        return Request(method, path, body, headers)
