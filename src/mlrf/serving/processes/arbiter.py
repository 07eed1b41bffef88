"""The arbiter: gunicorn's, with worker slots.

Added to gunicorn: a listener a slot, back-off for a slot whose workers keep dying, a boot failure that ends the service
only while no worker has ever answered, and no signal that would change the number of listeners. It imports neither
NumPy nor an engine: both start threads, and it forks.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from mlrf import __version__
from mlrf.core.repository import Version
from mlrf.features.seeding import take_rows
from mlrf.serving.control import ControlBlock
from mlrf.serving.exposition import Exposition
from mlrf.serving.logs import ArbiterLog, Log
from mlrf.serving.metrics import clear_gauges
from mlrf.serving.processes.admin_listener import AdminListener, parse_admin
from mlrf.serving.processes.board import WAKE, Board
from mlrf.serving.processes.boot import BOOT_WORDS, Boot
from mlrf.serving.processes.listeners import Listeners, bind_listeners
from mlrf.serving.processes.reloading import Hands, Reloading
from mlrf.serving.processes.sources import Sources
from mlrf.serving.processes.worker import HELD_SIGNALS, UvloopWorker
from mlrf.serving.routes import layout
from mlrf.serving.settings import ServeSettings

_STEADY_S = 10.0
"""A worker that lived this long has not failed at once, and its slot's back-off starts anew."""
_FIRST_DELAY_S = 0.5
_LAST_DELAY_S = 30.0


@dataclass(slots=True)
class Slot:
    """A place for a worker: how often its last ones failed, and when the next may start."""

    listener: Any
    exit_code: int = 0
    """Why its last worker that could not boot could not, as the exit code of a service that ends for it."""
    failures: int = 0
    started_s: float = 0.0
    due_s: float = 0.0
    pid: int = field(default=0)


def serve(settings: ServeSettings) -> None:
    """Serve until told to stop.

    Leaves by SystemExit with 0 after a stop. ConfigError when the settings cannot be met (a port in use); BundleError when a
    bundle is not sound, or no worker could open it.
    """
    log = Log(settings.log_level)
    sources = Sources(settings)
    bundles = sources.bundles
    listeners = bind_listeners(settings.host, settings.port, settings.workers, settings.backlog)
    for bundle in bundles:
        # Workers would do it too; here it holds none of them up, and is told.
        began_s = time.monotonic()
        if take_rows(bundle, settings.state_dir, shared=settings.features is not None):
            log.info("rows taken", model=bundle.name, took_s=round(time.monotonic() - began_s, 1))
    admin = None if settings.admin is None else AdminListener(parse_admin(settings.admin))
    places = layout()
    block = ControlBlock(settings.workers, places.n_words + BOOT_WORDS)
    labels = [{"model": b.name, "version": b.short_version} for b in bundles]
    exposition = Exposition(places, block, labels, __version__)
    board = Board(settings.workers, len(sources.shelves))
    boot = Boot(settings, bundles, places, block, exposition, log, board, sources.shelves, admin, os.getpid())
    models = {b.name: b.short_version for b in bundles}
    log.info("listening", url=listeners.url, workers=settings.workers, models=models, version=__version__)
    if admin is not None:
        log.info("admin listening", address=admin.name)
    ArbiterLog.log = log
    gc.collect()
    gc.freeze()
    arbiter = SlotArbiter(_Application(settings), boot, listeners, sources.versions)
    try:
        arbiter.run()
    finally:
        # A worker leaves through here too, and may remove nothing.
        if admin is not None and os.getpid() == arbiter.pid:
            admin.remove()


class SlotArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's arbiter over worker slots."""

    # A worker that cannot boot must not end the others: no exit code means that here.
    WORKER_BOOT_ERROR = -1
    APP_LOAD_ERROR = -1

    def __init__(self, app: _Application, boot: Boot, listeners: Listeners, versions: dict[str, Version]) -> None:
        super().__init__(app)
        self.LISTENERS = list(listeners.sockets)
        self._boot = boot
        self._slots = [Slot(listener) for listener in listeners.sockets]
        self._next = 0
        self._stopping = False
        self._reloading = Reloading(
            boot.board,
            boot.shelves,
            boot.settings.reload_timeout_s,
            boot.settings.allow_schema_change,
            Hands(self._wake_workers, self._end_worker, boot.count_reload),
            boot.log,
        )
        self._reloading.begin(versions)
        self.cfg.set("pre_fork", self._equip)
        self.cfg.set("child_exit", self._worker_ended)

    def spawn_workers(self) -> None:
        """Start a worker in every slot that has none and is due."""
        now = time.monotonic()
        for number, slot in enumerate(self._slots):
            if slot.pid not in self.WORKERS and now >= slot.due_s:
                self._next = number
                slot.started_s = now
                # A signal between the fork and the worker's own handlers would be queued for an arbiter that it is not.
                signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
                try:
                    slot.pid = self.spawn_worker()
                finally:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    def init_signals(self) -> None:
        """Listen to workers too."""
        super().init_signals()
        signal.signal(WAKE, self.signal)

    def handle_urg(self) -> None:
        """Go on: a worker has something to tell, and `manage_workers` comes next."""

    def manage_workers(self) -> None:
        """Replace workers that are gone, and go on with a reload."""
        super().manage_workers()
        self._reloading.step(time.monotonic(), self._boot.ready_slots())

    def _wake_workers(self) -> None:
        for pid in tuple(self.WORKERS):
            self.kill_worker(pid, WAKE)

    def _end_worker(self, slot: int) -> None:
        if self._slots[slot].pid in self.WORKERS:
            self.kill_worker(self._slots[slot].pid, signal.SIGKILL)

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers; how they end is no trouble from here on."""
        self._stopping = True
        super().stop(graceful)

    def handle_hup(self) -> None:
        """Ignore the signal: a bundle is immutable, and settings are read at the start."""
        self._boot.log.warning("signal ignored", signal="HUP", remedy="restart the server to change its settings")

    def handle_ttin(self) -> None:
        """Ignore the signal: the number of listeners is fixed before the first fork."""
        self._boot.log.warning("signal ignored", signal="TTIN or TTOU", remedy="restart with another --workers")

    handle_ttou = handle_ttin

    def handle_usr1(self) -> None:
        """Ignore the signal: there is no log file to open again."""
        self._boot.log.warning("signal ignored", signal="USR1", remedy="logs go to standard error")

    def handle_usr2(self) -> None:
        """Ignore the signal: listeners are not handed to another binary."""
        self._boot.log.warning("signal ignored", signal="USR2", remedy="start the new server beside the old one")

    def _equip(self, _arbiter: Arbiter, worker: UvloopWorker) -> None:
        worker.slot = self._next
        worker.boot = self._boot
        worker.sockets = [self._slots[self._next].listener]
        worker.siblings = {n: slot.listener for n, slot in enumerate(self._slots) if n != self._next}

    def _worker_ended(self, _arbiter: Arbiter, worker: UvloopWorker) -> None:
        if not self.LISTENERS:
            return  # gunicorn gives its listeners up first when it stops
        boot, slot = self._boot, self._slots[worker.slot]
        clear_gauges(boot.layout, boot.block.row(worker.slot))
        slot.exit_code = boot.take_failure(worker.slot)
        if self._stopping:
            return
        if boot.take_leaving(worker.slot):
            slot.failures, slot.due_s = 0, 0.0
            boot.log.info("worker left", slot=worker.slot, worker_pid=worker.pid)
            return
        self._reloading.crashed(worker.slot)
        if all(each.exit_code for each in self._slots) and not boot.has_answered():
            raise HaltServer("no worker could boot", slot.exit_code)
        lived_s = time.monotonic() - slot.started_s
        slot.failures = 0 if lived_s >= _STEADY_S else slot.failures + 1
        # The first failure is replaced at once; what fails again and again may cost the machine less and less.
        delay_s = 0.0 if slot.failures < 2 else min(_LAST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (slot.failures - 2))  # noqa: PLR2004
        slot.due_s = time.monotonic() + delay_s
        boot.log.warning(
            "worker ended", slot=worker.slot, worker_pid=worker.pid, lived_s=round(lived_s, 1), delay_s=delay_s
        )


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's view of our settings."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        super().__init__(prog="mlrf serve")

    def load_config(self) -> None:
        """Hand our settings over."""
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        options = {
            # For gunicorn to parse alone: the listeners are bound already.
            "bind": [f"{host}:{settings.port}"],
            "workers": settings.workers,
            "worker_class": UvloopWorker,
            "logger_class": ArbiterLog,
            "timeout": max(1, round(settings.worker_timeout_s)),
            "graceful_timeout": max(1, round(settings.drain_timeout_s) + 2),
            "control_socket_disable": True,
            "worker_tmp_dir": _memory_folder(),
            "proc_name": "mlrf",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> None:
        """Load nothing: workers open their models themselves."""


def _memory_folder() -> str | None:
    """Return a folder in memory for heartbeats: on a disk, a stalled write would look like a stalled worker."""
    folder = Path("/dev/shm")  # noqa: S108  heartbeat files are unnamed as soon as they are made
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
