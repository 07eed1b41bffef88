"""HTTP requests over httpx, with a deadline and retries: the rules of `Transport` on an event loop."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from time import monotonic
from typing import Any

from mlrf.client.errors import ServerUnreachableError, error_of
from mlrf.client.http_messages import Request, Response
from mlrf.client.retries import RetryBudget, wait_s
from mlrf.client.transport import LEAST_GZIP_BYTES, OK, UNAVAILABLE, parts_of, seconds_of
from mlrf.core.errors import ConfigError, DeadlineExceededError, MlrfError

_MOST_IDLE = 8


class AsyncTransport:
    """Sends requests to one server, for one event loop."""

    def __init__(
        self, url: str, *, key: str | None, timeout_s: float, ca_file: str | None, compress: bool, retries: int
    ) -> None:
        """ConfigError for a URL that is not `http[s]://host[:port]`, or when httpx is not installed."""
        parts_of(url)
        try:
            import httpx  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(f"AsyncClient needs httpx: pip install 'mlrf[httpx]' ({error})") from error
        self._httpx: Any = httpx
        self._url = url.rstrip("/")
        limits = httpx.Limits(max_keepalive_connections=_MOST_IDLE, max_connections=None)
        verify = ssl.create_default_context(cafile=ca_file) if url.startswith("https") else False
        # As the other client, it asks the server itself: the environment's proxies are not for it.
        self._client: Any = httpx.AsyncClient(verify=verify, trust_env=False, limits=limits)
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._timeout_s = timeout_s
        self._compress = compress
        self._retries = retries
        self._budget = RetryBudget()

    def deadline_s(self, timeout_s: float | None = None) -> float:
        """Return the deadline (`time.monotonic`) of a call that starts now, from its own timeout or the client's."""
        return monotonic() + (self._timeout_s if timeout_s is None else timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(self, request: Request, deadline_s: float) -> Response:
        """Return the response with status 200; errors and retries as of `Transport.request`."""
        self._budget.earn()
        body, headers = request.body, {**self._headers, **request.headers}
        if body is not None and self._compress and len(body) >= LEAST_GZIP_BYTES:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        attempt = 0
        while True:
            failure, retry_after_s = await self._attempt(request.method, request.path, body, headers, deadline_s)
            if isinstance(failure, Response):
                return failure
            pause_s = wait_s(attempt, retry_after_s)
            if attempt >= self._retries or monotonic() + pause_s >= deadline_s or not self._budget.spend():
                raise failure
            attempt += 1
            await asyncio.sleep(pause_s)

    async def _attempt(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline_s: float
    ) -> tuple[Response | MlrfError, float]:
        """Return the response, or an error that a retry may resolve and the least seconds to wait; raise any other error."""
        left_s = deadline_s - monotonic()
        if left_s <= 0.0:
            raise DeadlineExceededError("the call's timeout passed before the server answered")
        headers["X-Request-Timeout-Ms"] = str(max(1, int(left_s * 1e3)))
        try:
            async with asyncio.timeout(left_s):
                answer = await self._client.request(
                    method, self._url + path, content=body, headers=headers, timeout=None
                )
        except TimeoutError as error:
            raise DeadlineExceededError("the call's timeout passed before the server answered") from error
        except self._httpx.HTTPError as error:
            sentence = f"{self._url} did not answer: {type(error).__name__}: {error}"
            return ServerUnreachableError(sentence, server=self._url), 0.0
        if answer.status_code == OK:
            return Response(answer.headers, answer.content), 0.0
        fault = error_of(answer.status_code, answer.content)
        if answer.status_code != UNAVAILABLE:
            raise fault
        return fault, seconds_of(answer.headers.get("Retry-After"))
