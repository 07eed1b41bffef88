"""Turns SIGINT (Ctrl-C) and SIGTERM into an exception, so that every `with` and `finally` block cleans up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDINGS = (signal.SIGINT, signal.SIGTERM)


class EndedBySignal(BaseException):
    """Raised on a signal to terminate. Not a KeyboardInterrupt, which typer would swallow silently."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `EndedBySignal` at the first signal to terminate, and ignore later ones during the cleanup.

    A signal that was ignored at the start (`nohup`, a shell's `&`) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    earlier = {number: signal.getsignal(number) for number in _ENDINGS}
    handled = [number for number, handler in earlier.items() if handler is not signal.SIG_IGN]

    def end(number: int, _frame: FrameType | None) -> None:
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        raise EndedBySignal(number)

    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, earlier[number])
