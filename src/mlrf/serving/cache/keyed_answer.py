"""A response made from stored rows, with the conditions under which it may be reused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self


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


class LoggedAnswer(bytes):
    """An answer that carries the rows that it was made from, as `KeyedAnswer.features`, to the prediction log."""

    features: Callable[[], bytes] | None = None


def features_of(answer: bytes) -> Callable[[], bytes] | None:
    """Return what returns the rows of an answer as JSON, for the prediction log; None if it carries none."""
    return getattr(answer, "features", None)


def with_features(answer: bytes, features: Callable[[], bytes] | None) -> bytes:
    """Return an answer that carries rows to the prediction log; unchanged for None."""
    if features is None:
        return answer
    carrier: Any = LoggedAnswer(answer) if type(answer) is bytes else answer
    carrier.features = features
    return carrier  # type: ignore[no-any-return]
