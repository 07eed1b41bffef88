"""A response made from stored rows, with the conditions under which it may be reused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self


class KeyedAnswer(bytes):
    """An answer made from stored rows, which may be reused only while the store has not changed.

    `transaction` is the store's last transaction when the rows were read; any later one may have changed them.
    `fresh_until_s` (seconds of `time.time`) is when one of the rows becomes too old for this answer, `inf` if none does.
    """

    transaction: int
    fresh_until_s: float
    features: Callable[[], bytes] | None = None
    """Returns the rows that it was made from as JSON, for the prediction log; None where no log keeps them."""

    def __new__(cls, content: bytes, transaction: int, fresh_until_s: float = math.inf) -> Self:
        """Return the bytes `content` with their conditions."""
        answer = bytes.__new__(cls, content)
        answer.transaction = transaction
        answer.fresh_until_s = fresh_until_s
        return answer
