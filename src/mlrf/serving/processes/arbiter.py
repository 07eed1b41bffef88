"""The arbiter: gunicorn's, with worker slots.

Added to gunicorn: a listener a slot, back-off for a slot whose workers keep dying, a boot failure that ends the service
only while no worker has ever answered, versions and settings that change while serving, and no signal that would change the
number of listeners. It imports neither NumPy nor an engine: both start threads, and it forks.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from mlrf import __version__
from mlrf.core.errors import MlrfError
from mlrf.features.seed_store import take_rows
from mlrf.serving.auth.access_control import AccessControl
from mlrf.serving.config.admin_address import parse_admin
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.service import default_name
from mlrf.serving.processes.admin_listener import AdminListener
from mlrf.serving.processes.listeners import Listeners, Reservation, bind_listeners, reserve_address, spread_listeners
from mlrf.serving.processes.models_at_start import ModelsAtStart
from mlrf.serving.processes.reload_board import WAKE, ReloadBoard
from mlrf.serving.processes.reload_coordinator import CoordinatorActions, ReloadCoordinator
from mlrf.serving.processes.settings_reload import merged
from mlrf.serving.processes.systemd import Notifier, inherited_listeners
from mlrf.serving.processes.worker import HELD_SIGNALS, UvloopWorker
from mlrf.serving.processes.worker_boot import BOOT_WORDS, WorkerBoot
from mlrf.serving.processes.worker_slots import Slot, boot_failure_status
from mlrf.serving.routes import layout, scopes
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.logs import ArbiterLog, Log
from mlrf.serving.telemetry.metrics import Layout, clear_gauges

_NO_LOOK_S = 2.0
"""An arbiter that has not looked for this long was itself held up, and its workers with it: they get as long again."""


def serve(settings: ServeSettings, reread: Callable[[], ServeSettings]) -> None:
    """Serve until stopped by a signal; `reread` loads the settings again, or raises ConfigError.

    Leaves by SystemExit with 0 after a stop. ConfigError when the settings cannot be met (a port in use); BundleError when a
    bundle is not sound, or no worker could open it.
    """
    # PID 1 of a container ignores signals without a handler, and loading may take long.
    signal.signal(signal.SIGTERM, _leave)
    log = Log(settings.log_level)
    notifier = Notifier(os.environ)
    inherited = inherited_listeners(os.environ)
    sources = ModelsAtStart(settings)
    bundles = sources.bundles
    listeners = (
        spread_listeners(inherited, settings.workers)
        if inherited
        else bind_listeners(settings.host, settings.port, settings.workers, settings.backlog)
    )
    served = [bundle for bundle in bundles if bundle.name in sources.versions]
    _log_refused(sources, log)
    for bundle in served:
        # Workers would do it too; here it holds none of them up, and is told.
        began_s = time.monotonic()
        if take_rows(bundle, settings.state_dir, shared=settings.features is not None):
            log.info("rows taken", model=bundle.name, took_s=round(time.monotonic() - began_s, 1))
    admin = None if settings.admin is None else AdminListener(parse_admin(settings.admin))
    grpc = _reserve(settings)
    places = layout([bundle.name for bundle in bundles], grpc=grpc is not None)
    block = ControlBlock(settings.workers, places.n_words + BOOT_WORDS)
    labels = [{"model": b.name, "version": b.short_version} for b in served]
    exposition = Exposition(places, block, labels, __version__)
    board = ReloadBoard(settings.workers, len(bundles))
    access = _access(settings, places, log)
    boot = WorkerBoot(
        settings, bundles, places, block, exposition, log, board, access, sources.model_directories, admin, grpc
    )
    boot.refused = sources.refused
    boot.arbiter = os.getpid()
    boot.pinned = {bundle.name: bundle.held for bundle in bundles if bundle.held}
    models = {b.name: b.short_version for b in served}
    url = listeners.url if settings.access.tls_files is None else listeners.url.replace("http:", "https:", 1)
    _warn_if_open(settings, [*listeners.sockets, *([] if grpc is None else [grpc.held])], log)
    log.info("listening", url=url, workers=settings.workers, models=models, version=__version__)
    if grpc is not None:
        log.info("gRPC listening", address="{}:{}".format(*grpc.address))
    if admin is not None:
        log.info("admin listening", address=admin.name)
    ArbiterLog.log = log
    gc.collect()
    gc.freeze()
    arbiter = SlotArbiter(_Application(settings), boot, listeners, sources, notifier, reread)
    try:
        arbiter.run()
    finally:
        # Workers exit through here too, and must not remove anything.
        if admin is not None and os.getpid() == boot.arbiter:
            admin.remove()


def _warn_if_open(settings: ServeSettings, listeners: Sequence[socket.socket], log: Log) -> None:
    """Warn if a listener is reachable from other machines while no key is required."""
    for host in sorted({str(listener.getsockname()[0]) for listener in listeners}):
        if (exposed := settings.access.exposed(host)) is not None:
            log.warning("open to all", reason=exposed)


def _log_refused(sources: ModelsAtStart, log: Log) -> None:
    """Log each refused version, and the version served instead."""
    for name, each in sources.refused.items():
        serving = None if each.serving is None else each.serving.number
        log.error("version refused", model=name, version=each.version.number, reason=each.reason, serving=serving)


def _reserve(settings: ServeSettings) -> Reservation | None:
    """Reserve the address of gRPC, if gRPC is enabled."""
    wanted = settings.grpc
    if wanted.grpc_port is None:
        return None
    return reserve_address(settings.host if wanted.grpc_host is None else wanted.grpc_host, wanted.grpc_port)


def _access(settings: ServeSettings, places: Layout, log: Log) -> AccessControl:
    return AccessControl(settings.access, settings.limits.header_timeout_s, scopes(places.routes), log)


def _leave(*_signal: object) -> None:
    raise SystemExit(0)


class SlotArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's arbiter over worker slots."""

    # A worker that cannot boot must not end the others, so no exit code has that meaning here.
    WORKER_BOOT_ERROR = -1
    APP_LOAD_ERROR = -1

    def __init__(
        self,
        app: _Application,
        boot: WorkerBoot,
        listeners: Listeners,
        sources: ModelsAtStart,
        notifier: Notifier,
        reread: Callable[[], ServeSettings],
    ) -> None:
        super().__init__(app)
        self.timeout = boot.settings.worker_timeout_s
        self._notifier = notifier
        self._reread = reread
        self.LISTENERS = list(listeners.sockets)
        self._boot = boot
        self._slots = [Slot(listener) for listener in listeners.sockets]
        self._next = 0
        self._stopping = False
        self._has_answered = False
        self._ready: set[int] = set()
        self._looked_s = time.monotonic()
        self._patient_until_s = 0.0
        self._to_replace: set[int] = set()
        """Process ids of the workers that run with the previous settings."""
        self._leaving = 0
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._reloading = ReloadCoordinator(
            boot.board,
            boot.model_directories,
            boot.settings.reload_timeout_s,
            boot.settings.allow_schema_change,
            CoordinatorActions(self._wake_workers, self._end_worker, boot.count_reload),
            boot.log,
            boot.pinned,
            boot.refused,
        )
        self._reloading.begin(sources.versions, sources.unavailable)
        self.cfg.set("pre_fork", self._equip)
        self.cfg.set("child_exit", self._worker_ended)

    def spawn_workers(self) -> None:
        """Start a worker in every empty slot whose back-off has passed."""
        now = time.monotonic()
        for number, slot in enumerate(self._slots):
            if slot.pid not in self.WORKERS and now >= slot.due_s:
                self._next = number
                slot.started_s = now
                # A signal between the fork and the worker's own handlers would be queued for an arbiter that it is not.
                signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
                try:
                    slot.pid = self.spawn_worker()
                except OSError as error:
                    self._not_started(number, error)
                finally:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    def _not_started(self, number: int, error: OSError) -> None:
        """Try again later: what the system lacks now (descriptors, processes, memory) costs a worker, not the service."""
        if os.getpid() != self._boot.arbiter:
            raise error
        os.umask(self._umask)  # gunicorn sets another while it makes the heartbeat's file
        delay_s = self._delay_after_failure(number)
        self._boot.log.error("worker not started", slot=number, reason=str(error), delay_s=delay_s)

    def init_signals(self) -> None:
        """Listen to workers too, and to a SIGHUP that came while the server started."""
        super().init_signals()
        signal.signal(WAKE, self.signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))

    def handle_urg(self) -> None:
        """Wake up: a worker has sent a message, which `manage_workers` reads next."""

    def manage_workers(self) -> None:
        """Replace dead workers, publish which slots answer, and advance the reload in progress."""
        self._boot.access.refresh_all()
        super().manage_workers()
        ready = self._boot.ready_slots()
        if ready != self._ready:
            self._ready = ready
            self._wake_workers()
        if not self._has_answered and self._boot.has_answered():
            self._has_answered = True
            self._notifier.ready()
        self._reloading.step(time.monotonic(), self._boot.answering_slots())
        self._replace_one(ready)

    def murder_workers(self) -> None:
        """Kill workers whose heartbeat has stopped; a stopped process reacts to SIGKILL only."""
        now = time.monotonic()
        if now - self._looked_s > _NO_LOOK_S:
            self._patient_until_s = now + _NO_LOOK_S
        self._looked_s = now
        if now < self._patient_until_s:
            return
        for pid, worker in tuple(self.WORKERS.items()):
            with suppress(OSError, ValueError):
                silent_s = now - worker.tmp.last_update()
                if silent_s > self.timeout:
                    self._boot.log.error("worker hangs", slot=worker.slot, worker_pid=pid, silent_s=round(silent_s, 1))
                    self.kill_worker(pid, signal.SIGKILL)

    def _replace_one(self, ready: set[int]) -> None:
        """Replace the workers of old settings one at a time, while all the others answer."""
        if not self._to_replace:
            return
        self._to_replace &= self.WORKERS.keys()
        if not self._to_replace:
            self._boot.log.info("settings in force")
            self._notifier.ready()
        elif self._leaving not in self.WORKERS and len(ready) == len(self._slots) and self._reloading.is_idle:
            self._leaving = min(self._to_replace)
            self.kill_worker(self._leaving, signal.SIGTERM)

    def _wake_workers(self) -> None:
        for pid in tuple(self.WORKERS):
            self.kill_worker(pid, WAKE)

    def _end_worker(self, slot: int) -> None:
        if self._slots[slot].pid in self.WORKERS:
            self.kill_worker(self._slots[slot].pid, signal.SIGKILL)

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers; from here on their exits are not counted as failures."""
        self._stopping = True
        self._notifier.stopping()
        super().stop(graceful)

    def kill_workers(self, sig: int) -> None:
        """Send a signal to every worker; at exit, SIGKILL goes last to those that are still running."""
        for pid, worker in self.WORKERS.items() if sig == signal.SIGKILL else ():
            self._boot.log.error("worker hangs", slot=worker.slot, worker_pid=pid, at_exit=True)
        super().kill_workers(sig)

    def handle_hup(self) -> None:
        """Read the settings again and replace the workers one by one; invalid settings change nothing."""
        boot = self._boot
        try:
            settings, changed, refused = merged(boot.settings, self._reread())
            default_name([bundle.name for bundle in boot.bundles], settings.default)
            access = _access(settings, boot.layout, boot.log)
        except MlrfError as error:
            boot.log.warning("settings not read", reason=str(error))
            return
        except Exception as error:  # noqa: BLE001  on any error the service keeps its settings
            boot.log.error("settings not read", reason=str(error), fault=error)  # noqa: TRY400  not logging
            return
        if refused:
            boot.log.warning("settings need a restart", options=refused)
        boot.log.info("settings read", options=changed)
        boot.settings, boot.access = settings, access
        boot.log.set_level(settings.log_level)
        held = [] if boot.grpc is None else [boot.grpc.held]
        _warn_if_open(settings, [*(slot.listener for slot in self._slots), *held], boot.log)
        self.timeout = settings.worker_timeout_s
        self.cfg.set("graceful_timeout", _graceful_s(settings))
        self._reloading.timeout_s = settings.reload_timeout_s
        self._reloading.allow_schema_change = settings.allow_schema_change
        self._notifier.reloading()
        self._to_replace = set(self.WORKERS)

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
        worker.plan = self._reloading.plan
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
            slot.left()
            boot.log.info("worker left", slot=worker.slot, worker_pid=worker.pid)
            return
        self._reloading.crashed(worker.slot)
        lived_s = round(time.monotonic() - slot.started_s, 1)
        delay_s = self._delay_after_failure(worker.slot)
        boot.log.warning("worker ended", slot=worker.slot, worker_pid=worker.pid, lived_s=lived_s, delay_s=delay_s)

    def _delay_after_failure(self, number: int) -> float:
        """Return the pause before the slot's next worker; raises HaltServer when the service can never answer."""
        now = time.monotonic()
        self._boot.count_failure(number)
        alone = not self._boot.ready_slots()
        delay_s = self._slots[number].failed(now, alone=alone)
        for other in self._slots if alone else ():
            other.shorten_delay(now)
        if not self._boot.has_answered() and (status := boot_failure_status(self._slots)):
            raise HaltServer("no worker could boot", status)
        return delay_s


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's view of our settings."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        super().__init__(prog="mlrf serve")

    def load_config(self) -> None:
        """Set gunicorn's settings from ours."""
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        options = {
            # For gunicorn to parse alone: the listeners are bound already.
            "bind": [f"{host}:{settings.port}"],
            "workers": settings.workers,
            "worker_class": UvloopWorker,
            "logger_class": ArbiterLog,
            "timeout": max(1, round(settings.worker_timeout_s)),
            "graceful_timeout": _graceful_s(settings),
            "control_socket_disable": True,
            "worker_tmp_dir": _memory_folder(),
            "proc_name": "mlrf",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> None:
        """Load nothing: workers open their models themselves."""


def _graceful_s(settings: ServeSettings) -> int:
    return max(1, round(settings.drain_timeout_s) + 2)


def _memory_folder() -> str | None:
    """Return a folder in memory for heartbeats: on a disk, a stalled write would look like a stalled worker."""
    folder = Path("/dev/shm")  # noqa: S108  heartbeat files are unnamed as soon as they are made
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
