"""A reader whose every call ends: a store that sends a byte now and then would otherwise hold up all others for ever.

The libraries of stores limit each wait for the network, but not their sum. The limit is a timer of the process, so it also ends
what those libraries do themselves; it works in the main thread only.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from mlrf.core.errors import RepositoryError
from mlrf.stores.interface import Content, StoreReader

_LEAST_BYTES_PER_S = 64 << 10
"""Slowest download that is waited for."""


class LimitedReader:
    """Reads from a store, and gives up after `limit_s` seconds, or later in proportion to the size of a download."""

    def __init__(self, open_reader: Callable[[], StoreReader], name: str, limit_s: float) -> None:
        self._name = name
        self._limit_s = limit_s
        with self._limit(limit_s):
            self._reader = open_reader()

    @property
    def resolved(self) -> str:
        """As of the reader."""
        return self._reader.resolved

    def read(self, name: str, limit_bytes: int) -> Content:
        """As of the reader."""
        with self._limit(self._limit_s):
            return self._reader.read(name, limit_bytes)

    def download(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """As of the reader."""
        with self._limit(self._limit_s + size_bytes / _LEAST_BYTES_PER_S):
            self._reader.download(name, file, size_bytes)

    def folders(self, below: str = "") -> list[str]:
        """As of the reader."""
        with self._limit(self._limit_s):
            return self._reader.folders(below)

    @contextmanager
    def _limit(self, limit_s: float) -> Iterator[None]:
        """Raise RepositoryError if what runs within takes longer."""

        def expire(_number: int, _frame: object) -> None:
            raise TimeoutError(f"the answer was not complete within {limit_s:.0f} s")

        began_s = time.monotonic()
        handler = signal.signal(signal.SIGALRM, expire)
        left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            yield
        except TimeoutError as error:
            raise RepositoryError(f"{self._name}: {error}") from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            if left_s:
                # The time of a timer that was set before goes on.
                signal.setitimer(signal.ITIMER_REAL, max(left_s - (time.monotonic() - began_s), 1e-3), interval_s)
