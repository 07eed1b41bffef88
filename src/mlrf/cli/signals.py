"""Ctrl-C and SIGTERM as ends that clean up: an exception of our own, on which every `with` and `finally` on the way runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDINGS = (signal.SIGINT, signal.SIGTERM)


class Ended(BaseException):
    """A signal asked for the end. Not a KeyboardInterrupt, which typer would swallow without a word."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `Ended` at the first signal that asks for an end, and let none cut the cleaning short.

    A signal that came ignored (`nohup`, a shell's `&`) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    earlier = {number: signal.getsignal(number) for number in _ENDINGS}
    handled = [number for number, handler in earlier.items() if handler is not signal.SIG_IGN]

    def end(number: int, _frame: FrameType | None) -> None:
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        raise Ended(number)

    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, earlier[number])
