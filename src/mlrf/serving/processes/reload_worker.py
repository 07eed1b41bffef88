"""Follows reloads in a worker: prepare off the event loop, switch on it, release the old version.

Preparing runs in a separate thread; switching is an assignment between two requests. Unloading is switching to
nothing.
"""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, MlrfError, SchemaChangedError
from mlrf.core.manifest import GOLDEN_ROWS
from mlrf.core.repository import Version
from mlrf.core.trim_memory import trim_memory
from mlrf.model.replay import replay
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.models.loaded_model import LoadedModel
from mlrf.serving.models.service import Service
from mlrf.serving.processes.bundle_lookup import opened
from mlrf.serving.processes.reload_messages import Attempt, Plan, Report, clipped
from mlrf.serving.processes.signature_check import check_signature
from mlrf.serving.processes.worker_boot import WorkerBoot
from mlrf.serving.telemetry.logs import Log

_RELEASE_TRIES = 120
_RELEASE_PAUSE_S = 0.5


class WorkerReload:
    """Makes a worker follow the plan, and reports its progress to the arbiter."""

    def __init__(self, boot: WorkerBoot, slot: int, service: Service, plan: Plan, route: Callable[[], None]) -> None:
        """`plan` is the plan that the service was made from; `route` makes the server use the service's current generation."""
        self._boot = boot
        self._slot = slot
        self._page = boot.reload_pages.reports[slot]
        self._service = service
        self._route = route
        self._plan = plan
        self._attempt = 0
        self._prepared: tuple[Attempt, LoadedModel] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._work: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Task[None]] = set()
        self._report(prepared=False)

    @property
    def log(self) -> Log:
        """The server's log."""
        return self._boot.log

    def is_behind(self) -> bool:
        """Whether the plan has another generation than this worker, and the worker has not prepared it."""
        return self._boot.reload_pages.plan.read().generation != self._plan.generation

    async def catch_up(self, notify: Callable[[], None]) -> None:
        """Open what the current plan serves and release the rest; used when this worker started from an older plan."""
        while self.is_behind():
            plan = self._boot.reload_pages.plan.read()
            for name, version in self._missing_versions(plan).items():
                notify()
                try:
                    served = await self._in_thread(partial(self._open, name, version, plan.pinned.get(name, {})))
                except BundleError:
                    if self._boot.reload_pages.plan.read().generation == plan.generation:
                        raise
                    # It was unloaded while this worker was about to open it.
                    break
                self._serve(served)
            else:
                self._settle(plan)

    def follow(self) -> None:
        """Follow the plan: begin to prepare, switch, or discard what was prepared."""
        plan = self._boot.reload_pages.plan.read()
        if plan.generation != self._plan.generation:
            missing = self._missing_versions(plan)
            if missing:
                if self._prepared is None or missing != {self._prepared[0].model: self._prepared[0].version}:
                    return
                self._serve(self._prepared[1])
            self._prepared = None
            self._settle(plan)
            self._boot.wake_arbiter()
        elif plan.attempt is None:
            if self._prepared is not None:
                self._prepared = None
                self._release_model(None)
        elif plan.attempt.number != self._attempt and plan.attempt.slot in (None, self._slot):
            self._attempt = plan.attempt.number
            self._work = asyncio.get_running_loop().create_task(self._prepare(plan.attempt))

    def _missing_versions(self, plan: Plan) -> dict[str, Version]:
        """Return what the plan serves but this worker does not."""
        return {name: each for name, each in plan.versions.items() if self._plan.versions.get(name) != each}

    def _settle(self, plan: Plan) -> None:
        """Release what the plan does not serve, and report the generation served."""
        for name in plan.unloaded.keys() & self._plan.versions.keys():
            self._replace(name, None)
        self._plan = Plan(plan.generation, plan.versions, plan.unloaded)
        self._report(prepared=False)

    async def _prepare(self, attempt: Attempt) -> None:
        old = self._service.bundle_of(attempt.model)
        try:
            served = await self._in_thread(lambda: self._prove(old, attempt))
        except Exception as error:  # noqa: BLE001  on any error the old version stays in service
            unforeseen = None if isinstance(error, MlrfError) else error
            self.log.error(  # noqa: TRY400  not logging
                "version not prepared", model=attempt.model, reason=str(error), fault=unforeseen
            )
            reason = str(error) or type(error).__name__
            self._report(prepared=False, reason=reason, schema_changed=isinstance(error, SchemaChangedError))
        else:
            plan = self._boot.reload_pages.plan.read()
            if plan.attempt is None or plan.attempt.number != attempt.number:
                return
            self._prepared = (attempt, served)
            self._report(prepared=True)
        self._boot.wake_arbiter()

    def _prove(self, old: Bundle, attempt: Attempt) -> LoadedModel:
        with opened(self._boot, attempt.model, attempt.version, attempt.pinned) as bundle:
            if not attempt.pinned:  # else it was checked when it was pinned
                check_signature(bundle, self._boot.settings.require_signature)
            # Nothing is known about a model that could not be read at the start: callers were promised no schema.
            if old.version and not attempt.allow_schema_change:
                from mlrf.core.publishing import check_contract  # noqa: PLC0415  a start loads no version

                check_contract(old, bundle)
            golden_rows = bundle.file(GOLDEN_ROWS)
            prove = partial(replay, golden_rows=golden_rows, limit_s=self._boot.settings.reload_timeout_s)
            return self._service.open(bundle, attempt.version.number, prove)

    def _open(self, name: str, version: Version, pinned: Mapping[str, int]) -> LoadedModel:
        with opened(self._boot, name, version, pinned) as bundle:
            return self._service.open(bundle, version.number)

    async def _in_thread(self, work: Callable[[], LoadedModel]) -> LoadedModel:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mlrf-prepare")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _serve(self, served: LoadedModel) -> None:
        self._replace(served.name, served)

    def _replace(self, name: str, served: LoadedModel | None) -> None:
        """Serve a version instead of the model's old one (no version for an unload)."""
        released = self._service.served_as(name)
        # Handlers of requests in flight refer to the model, and not to `released`.
        waited_for = None if released is None else weakref.ref(released.model)
        del released
        old = self._service.put(name, served)
        self._route()
        old.release()
        self._release_model(waited_for)

    def _release_model(self, released: weakref.ref[RowPredictor] | None) -> None:
        task = asyncio.get_running_loop().create_task(self._release_memory(released))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release_memory(self, released: weakref.ref[RowPredictor] | None) -> None:
        """Return the memory of an old version to the system after its last request."""
        for _ in range(_RELEASE_TRIES):
            await asyncio.sleep(_RELEASE_PAUSE_S)
            if released is None or released() is None:
                break
        # Decoders create classes, which are reference cycles; the heap of the start is frozen, so this collection is short.
        gc.collect()
        await asyncio.get_running_loop().run_in_executor(self._thread, trim_memory)

    def _report(self, *, prepared: bool, reason: str = "", schema_changed: bool = False) -> None:
        self._page.write(
            Report(os.getpid(), self._plan.generation, self._attempt, prepared, clipped(reason), schema_changed)
        )
