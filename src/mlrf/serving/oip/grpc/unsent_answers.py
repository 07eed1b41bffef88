"""Bounds the answers that gRPC clients leave unread: by time, and by the memory of all of them.

grpcio keeps an answer until the client opens its window for it, without any limit. A call whose answer is complete cannot be
ended from Python; its connection can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import perf_counter
from typing import Any

from mlrf.serving.runtime.admission import KEPT_SHARE, MAX_UNSENT_BYTES


class UnsentAnswers:
    """The answers of one worker that are on their way, those that have been longest first."""

    def __init__(
        self, limit_s: float, close: Callable[[Collection[str]], None], max_bytes: int = MAX_UNSENT_BYTES
    ) -> None:
        """Have the connections of peers closed that do not take an answer for `limit_s`."""
        self._limit_s = limit_s
        self._close = close
        self._max_bytes = max_bytes
        self._answers: dict[Any, tuple[float, int, str]] = {}
        self._n_bytes = 0

    def add(self, context: Any, n_bytes: int) -> None:
        """Record an answer that is being sent, until `forget`; it may close other connections, or this one."""
        self._answers[context] = (perf_counter() + self._limit_s, n_bytes, context.peer())
        self._n_bytes += n_bytes
        if self._n_bytes > self._max_bytes:
            self._make_room()

    def forget(self, context: Any) -> None:
        """Forget an answer that is sent, or whose call has ended."""
        answer = self._answers.pop(context, None)
        if answer is not None:
            self._n_bytes -= answer[1]

    def sweep(self) -> None:
        """Close the connections of those that were not read in time."""
        now_s = perf_counter()
        late = set()
        for until_s, _, peer in self._answers.values():
            if until_s > now_s:
                break
            late.add(peer)
        if late:
            self._close(late)

    def _make_room(self) -> None:
        slow: set[str] = set()
        for context, (_, _, peer) in tuple(self._answers.items()):
            if self._n_bytes <= self._max_bytes * KEPT_SHARE:
                break
            slow.add(peer)
            self.forget(context)
        self._close(slow)
