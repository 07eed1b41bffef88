"""A worker's part in a reload: prepare beside the loop, switch within it, let the old version go.

Preparing costs what it costs in a thread of its own; switching is an assignment between two requests.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mlrf.core.bundle import Bundle
from mlrf.core.errors import MlrfError, SchemaChangedError
from mlrf.core.publishing import check_contract
from mlrf.core.repository import Shelf, Version
from mlrf.model.replay import replay
from mlrf.serving.processes.board import Attempt, Plan, Report, clipped
from mlrf.serving.processes.boot import Boot
from mlrf.serving.served import Served
from mlrf.serving.service import Service
from mlrf.serving.sight.logs import Log

_RELEASE_TRIES = 120
_RELEASE_PAUSE_S = 0.5


def bundles_of(boot: Boot, plan: Plan) -> list[Bundle]:
    """Return the bundles of a plan: those that the arbiter read, or for another version and a later worker those on disk."""
    bundles = []
    for bundle in boot.bundles:
        version = plan.versions.get(bundle.name)
        if version is None or (version.digest == bundle.version and not boot.has_answered()):
            bundles.append(bundle)
        else:
            bundles.append(boot.shelves[bundle.name].read(version))
    return bundles


class Switching:
    """Follows the plan: whatever `follow` finds there, this worker's report says how far it has come."""

    def __init__(self, boot: Boot, slot: int, service: Service, plan: Plan, route: Callable[[], None]) -> None:
        """`plan` is what the service was made by; `route` has the server ask the service's present generation."""
        self._boot = boot
        self._slot = slot
        self._page = boot.board.reports[slot]
        self._service = service
        self._route = route
        self._plan = plan
        self._attempt = 0
        self._prepared: tuple[int, Served] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._work: asyncio.Task[None] | None = None
        self._letting_go: set[asyncio.Task[None]] = set()
        self._report(prepared=False)

    @property
    def log(self) -> Log:
        """The server's log."""
        return self._boot.log

    def is_behind(self) -> bool:
        """Whether the plan serves another generation than this worker, which has not prepared it."""
        plan = self._boot.board.plan.read()
        return plan.generation != self._plan.generation and not self._has(plan)

    async def catch_up(self, notify: Callable[[], None]) -> None:
        """Open what the plan serves by now: this worker began with an older one."""
        while self.is_behind():
            plan = self._boot.board.plan.read()
            for name, version in plan.versions.items():
                if self._plan.versions.get(name) != version:
                    notify()
                    shelf = self._boot.shelves[name]
                    self._put(await self._aside(partial(_open_version, self._service, shelf, version)))
            self._plan = Plan(plan.generation, plan.versions)
            self._report(prepared=False)

    def follow(self) -> None:
        """Do what the plan asks for now: begin to prepare, switch, or give up what was prepared."""
        plan = self._boot.board.plan.read()
        if plan.generation != self._plan.generation:
            if not self._has(plan):
                return
            _, served = self._prepared or (0, None)
            self._prepared = None
            if served is not None:
                self._put(served)
            self._plan = Plan(plan.generation, plan.versions)
            self._report(prepared=False)
            self._boot.wake_arbiter()
        elif plan.attempt is None:
            if self._prepared is not None:
                self._prepared = None
                self._let_go(None)
        elif plan.attempt.number != self._attempt and plan.attempt.slot in (None, self._slot):
            self._attempt = plan.attempt.number
            self._work = asyncio.get_running_loop().create_task(self._prepare(plan.attempt))

    def _has(self, plan: Plan) -> bool:
        """Whether the plan's next generation is ours with what was prepared."""
        attempt = plan.attempt
        return (
            attempt is not None
            and plan.generation == self._plan.generation + 1
            and self._prepared is not None
            and self._prepared[0] == attempt.number
        )

    async def _prepare(self, attempt: Attempt) -> None:
        old = self._service.generation.of(attempt.model)
        try:
            served = await self._aside(lambda: self._open(old.bundle, attempt))
        except Exception as error:  # noqa: BLE001  whatever it is, the old version goes on
            unforeseen = None if isinstance(error, MlrfError) else error
            self.log.error(  # noqa: TRY400  not logging
                "version not prepared", model=attempt.model, reason=str(error), fault=unforeseen
            )
            reason = str(error) or type(error).__name__
            self._report(prepared=False, reason=reason, schema_changed=isinstance(error, SchemaChangedError))
        else:
            plan = self._boot.board.plan.read()
            if plan.attempt is None or plan.attempt.number != attempt.number:
                return
            self._prepared = (attempt.number, served)
            self._report(prepared=True)
        self._boot.wake_arbiter()

    def _open(self, old: Bundle, attempt: Attempt) -> Served:
        bundle = self._boot.shelves[attempt.model].read(attempt.version)
        if not attempt.allow_schema_change:
            check_contract(old, bundle)
        served = self._service.open(bundle, attempt.version.number)
        replay(served.model)
        return served

    async def _aside(self, work: Callable[[], Served]) -> Served:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mlrf-prepare")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _put(self, served: Served) -> None:
        old = self._service.put(served)
        going = weakref.ref(old.of(served.name))
        self._route()
        old.release()
        self._let_go(going)

    def _let_go(self, going: weakref.ref[Served] | None) -> None:
        task = asyncio.get_running_loop().create_task(self._give_memory_back(going))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    async def _give_memory_back(self, going: weakref.ref[Served] | None) -> None:
        """Once the last request of an old version is answered, return its memory to the system."""
        for _ in range(_RELEASE_TRIES):
            await asyncio.sleep(_RELEASE_PAUSE_S)
            if going is None or going() is None:
                break
        # Classes that decoders make are rings; the heap of the start is frozen, so this walks little.
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, trim, 0)

    def _report(self, *, prepared: bool, reason: str = "", schema_changed: bool = False) -> None:
        self._page.write(
            Report(os.getpid(), self._plan.generation, self._attempt, prepared, clipped(reason), schema_changed)
        )


def _open_version(service: Service, shelf: Shelf, version: Version) -> Served:
    return service.open(shelf.read(version), version.number)
