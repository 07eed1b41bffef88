"""Sends HTTP requests with httpx on an event loop, with deadlines and retries as `Transport` does."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from mlrf.client.errors import ServerUnreachableError, error_of
from mlrf.client.http_messages import Request, Response
from mlrf.client.retries import RetryBudget, wait_s
from mlrf.client.transport import OK, UNAVAILABLE, parts_of, seconds_of
from mlrf.client.transport_settings import TransportSettings
from mlrf.core.errors import ConfigError, DeadlineExceededError, MlrfError

_MOST_IDLE = 8


class AsyncTransport:
    """Sends requests to one server, for one event loop."""

    def __init__(self, url: str, settings: TransportSettings) -> None:
        """ConfigError for a URL that is not `http[s]://host[:port]`, or when httpx is not installed."""
        parts_of(url)
        try:
            import httpx  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(f"AsyncClient needs httpx: pip install 'mlrf[httpx]' ({error})") from error
        self._httpx: Any = httpx
        self._url = url.rstrip("/")
        limits = httpx.Limits(max_keepalive_connections=_MOST_IDLE, max_connections=None)
        verify = settings.tls_context() if url.startswith("https") else False
        # Like the other client it connects directly, whatever proxies the environment names.
        self._client: Any = httpx.AsyncClient(verify=verify, trust_env=False, limits=limits)
        self.settings = settings
        self._budget = RetryBudget()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(self, request: Request, deadline_s: float) -> Response:
        """Return the response with status 200; errors and retries as for `Transport.request`."""
        self._budget.earn()
        prepared = self.settings.prepared(request)
        attempt = 0
        while True:
            failure, retry_after_s = await self._attempt(prepared, deadline_s)
            if isinstance(failure, Response):
                return failure
            pause_s = wait_s(attempt, retry_after_s)
            if attempt >= self.settings.retries or monotonic() + pause_s >= deadline_s or not self._budget.spend():
                raise failure
            attempt += 1
            await asyncio.sleep(pause_s)

    async def _attempt(self, request: Request, deadline_s: float) -> tuple[Response | MlrfError, float]:
        """Return the response, or an error to retry after with the least seconds to wait; any other error is raised."""
        left_s = deadline_s - monotonic()
        if left_s <= 0.0:
            raise DeadlineExceededError("the call's timeout passed before the server answered")
        headers = {**request.headers, "X-Request-Timeout-Ms": str(max(1, int(left_s * 1e3)))}
        try:
            async with asyncio.timeout(left_s):
                answer = await self._client.request(
                    request.method, self._url + request.path, content=request.body, headers=headers, timeout=None
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
