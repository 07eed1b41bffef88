"""The loop that follows stores: look, fetch what is new, wait. After a failure it looks again soon, then at growing intervals.

1. A store that does not answer, or has something damaged, changes nothing but what is reported.
2. A failed look that took long (a time-out) is repeated at once, since it has waited already. Thus the mirror is up
   to date one pause, plus the time that fetching takes, after a store has recovered.
3. A state is logged when it changes, not at every look.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlrf.core.errors import MlrfError
from mlrf.stores.mirror import Mirror
from mlrf.stores.report import StoreReport

_FIRST_PAUSE_S, _LEAST_PAUSE_S = 0.25, 0.05
_LONGEST_REASON = 1000


class Log(Protocol):
    """The log of the loop."""

    def info(self, event: str, **facts: object) -> None:
        """Log an ordinary event."""
        ...

    def warning(self, event: str, **facts: object) -> None:
        """Log an event that needs attention."""
        ...


@dataclass(slots=True)
class StoreWatch:
    """Follows the stores of several addresses."""

    mirrors: Sequence[Mirror]
    pause_s: float
    log: Log
    report: Callable[[StoreReport], None]
    _last: StoreReport | None = None

    def run(self) -> None:
        """Follow the stores until the process ends."""
        failures = 0
        while True:
            began_s = time.monotonic()
            failed = [reason for mirror in self.mirrors if (reason := self._look(mirror))]
            failures = failures + 1 if failed else 0
            self._publish(failed)
            time.sleep(self._pause_s(failures, time.monotonic() - began_s))

    def _look(self, mirror: Mirror) -> str:
        """Follow one store; return why that failed, or an empty text."""
        try:
            for change in mirror.sync():
                self.log.info(
                    "version fetched",
                    model=change.model,
                    version=change.number,
                    digest=change.digest[:12],
                    store=mirror.address.text,
                    resolved=change.resolved,
                )
        except MlrfError as error:
            return str(error)[:_LONGEST_REASON]
        except Exception as error:  # noqa: BLE001  of the libraries of stores: a fault must not end the watch
            return f"{mirror.address.text}: {type(error).__name__}: {error}"[:_LONGEST_REASON]
        return ""

    def _publish(self, failed: list[str]) -> None:
        is_ready = not any(mirror.is_empty for mirror in self.mirrors)
        found = StoreReport(not failed, is_ready, "; ".join(failed)[:_LONGEST_REASON])
        if found == self._last:
            return
        if failed:
            self.log.warning("store not followed", reason=found.reason, has_version=is_ready)
        elif self._last is not None and not self._last.up:
            self.log.info("store followed again")
        self._last = found
        self.report(found)

    def _pause_s(self, failures: int, took_s: float) -> float:
        if not failures:
            return self.pause_s
        doubled_s: float = _FIRST_PAUSE_S * 2 ** min(failures - 1, 20)
        spread = random.uniform(0.8, 1.0)  # noqa: S311  servers that lost a store together shall not come back together
        return max(_LEAST_PAUSE_S, min(doubled_s, self.pause_s) * spread - took_s)
