"""Sends HTTP requests over keep-alive connections, with deadlines and retries.

It uses `http.client` of the standard library: httpx was measured to take 286 µs more for each call, longer than the server's
work.

1. A call ends at its deadline, also when the server sends a byte now and then: the time of the socket is set before each read.
2. A process that was forked opens connections of its own: two processes on one connection would get each other's answers.
"""

from __future__ import annotations

import gzip
import http.client
import os
import ssl
import threading
import zlib
from functools import partial
from time import monotonic, sleep
from urllib.parse import SplitResult, urlsplit

from mlrf.client.errors import ServerUnreachableError, error_of
from mlrf.client.http_messages import Request, Response
from mlrf.client.retries import RetryBudget, wait_s
from mlrf.client.timed_response import TimedResponse
from mlrf.client.transport_settings import TransportSettings
from mlrf.core.errors import ConfigError, DeadlineExceededError, MlrfError

OK = 200
UNAVAILABLE = 503
_MOST_IDLE = 8


class Transport:
    """Sends requests to one server; thread-safe, because each request has its own connection."""

    def __init__(self, url: str, settings: TransportSettings) -> None:
        """ConfigError for a URL that is not `http://host[:port]` or `https://host[:port]`."""
        parts = parts_of(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._prefix = parts.path.rstrip("/")
        self._tls = settings.tls_context() if parts.scheme == "https" else None
        self.settings = settings
        self._budget = RetryBudget()
        self._idle: list[http.client.HTTPConnection] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def request(self, request: Request, deadline_s: float) -> Response:
        """Return the response with status 200; or raise the server's error, ServerUnreachableError or DeadlineExceededError.

        Every request of the client is idempotent, so one that fails in transit or is answered with 503 is sent again
        while the deadline and the budget of retries allow.
        """
        self._budget.earn()
        prepared = self.settings.prepared(request)
        attempt = 0
        while True:
            failure, retry_after_s = self._attempt(prepared, deadline_s)
            if isinstance(failure, Response):
                return failure
            pause_s = wait_s(attempt, retry_after_s)
            may_retry = attempt < self.settings.retries and monotonic() + pause_s < deadline_s and self._budget.spend()
            if not may_retry:
                raise failure
            attempt += 1
            sleep(pause_s)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def _attempt(self, request: Request, deadline_s: float) -> tuple[Response | MlrfError, float]:
        """Return the response, or an error to retry after with the least seconds to wait; any other error is raised."""
        while True:
            left_s = deadline_s - monotonic()
            if left_s <= 0.0:
                raise DeadlineExceededError("the call's timeout passed before the server answered")
            headers = {**request.headers, "X-Request-Timeout-Ms": str(max(1, int(left_s * 1e3)))}
            connection, is_reused = self._open(left_s)
            connection.response_class = partial(TimedResponse, deadline_s)  # type: ignore[assignment]
            try:
                connection.request(request.method, self._prefix + request.path, request.body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except TimeoutError as error:
                connection.close()
                raise DeadlineExceededError("the call's timeout passed before the server answered") from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_reused:
                    # The server had closed the idle connection, which is normal.
                    continue
                return self._unreachable(connection, error), 0.0
            break
        if answer.will_close:
            connection.close()
        else:
            self._release(connection)
        if answer.getheader("Content-Encoding") == "gzip":
            content = _decompressed(content)
        if answer.status == OK:
            return Response(dict(answer.headers.items()), content), 0.0
        error_ = error_of(answer.status, content)
        if answer.status != UNAVAILABLE:
            raise error_
        return error_, seconds_of(answer.getheader("Retry-After"))

    def _unreachable(self, connection: http.client.HTTPConnection, error: Exception) -> ServerUnreachableError:
        """Return the error of a connection that failed; raise it if another attempt would fail as well."""
        where = f"{self._host}:{connection.port}"
        found = ServerUnreachableError(f"{where} did not answer: {type(error).__name__}: {error}", server=where)
        if isinstance(error, ssl.SSLCertVerificationError):
            raise ServerUnreachableError(
                f"{where}: the certificate was not accepted ({error.verify_message}); give the one to trust as ca_file",
                server=where,
            ) from error
        return found

    def _open(self, timeout_s: float) -> tuple[http.client.HTTPConnection, bool]:
        """Return a connection, and whether it was used before."""
        if self._pid != os.getpid():
            self._leave_to_parent()
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None and connection.sock is not None:
            connection.sock.settimeout(timeout_s)
            return connection, True
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls), False
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s), False

    def _leave_to_parent(self) -> None:
        """Forget the connections of the process from which this one was forked: closed here, they stay open there."""
        inherited, self._idle, self._lock, self._pid = self._idle, [], threading.Lock(), os.getpid()
        for each in inherited:
            if each.sock is not None:
                os.close(each.sock.detach())

    def _release(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def parts_of(url: str) -> SplitResult:
    """Return the parts of a server's URL; ConfigError for one that is not `http[s]://host[:port]`."""
    try:
        parts = urlsplit(url)
        is_valid = parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        parts, is_valid = urlsplit(""), False
    if (
        not is_valid
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.username
    ):
        raise ConfigError(f"{url!r} is not the URL of a server; expected http://host:port or https://host:port")
    return parts


def seconds_of(value: str | None) -> float:
    """Return the seconds of a Retry-After header; 0 for none, or for a date, which mlrf does not send."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0


def _decompressed(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise MlrfError(f"the answer's gzip is damaged ({error}); check the proxies before the server") from error
