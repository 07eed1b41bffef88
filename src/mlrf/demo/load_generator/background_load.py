"""A load in a separate thread, until its context ends."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Self

import uvloop

from mlrf.core.errors import ConfigError
from mlrf.demo.load_generator.generator import Judge, LoadGenerator, standard_judge
from mlrf.demo.load_generator.load_plan import LoadPlan
from mlrf.demo.load_generator.load_report import LoadReport

_ANSWER_LIMIT_S = 20.0


class BackgroundLoad:
    """Runs a plan while the context lasts. Entering it raises ConfigError when the server does not accept the connections."""

    def __init__(self, plan: LoadPlan, judge: Judge = standard_judge) -> None:
        self._plan, self._judge = plan, judge
        self._begun = threading.Event()
        self._report: LoadReport | None = None
        self._fault: ConfigError | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        if self._fault:
            raise self._fault
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def statuses(self) -> Counter[int]:
        """Number of answers so far, by status."""
        return self._load.statuses

    @property
    def errors(self) -> Counter[str]:
        """Number of errors so far, by kind."""
        return self._load.errors

    def end(self) -> LoadReport:
        """Stop sending, wait for the last answers, and return the report."""
        if self._report is None:
            self._loop.call_soon_threadsafe(self._load.stop)
            self._thread.join(2 * _ANSWER_LIMIT_S)
        if self._report is None:
            raise TimeoutError(f"the load did not end {2 * _ANSWER_LIMIT_S:g} s after it was stopped")
        return self._report

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._load = LoadGenerator(self._plan, self._judge)
        try:
            await self._load.open()
            self._begun.set()
            self._report = await self._load.run(float("inf"), _ANSWER_LIMIT_S)
        except ConfigError as error:
            self._fault = error
        finally:
            self._begun.set()
            self._load.close()
