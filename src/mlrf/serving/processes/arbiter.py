"""The arbiter: gunicorn's arbiter, extended with worker slots.

It adds to gunicorn: one listener per slot; a back-off for slots whose workers keep dying; a start that ends the service only if
no worker has ever answered; reloads of versions and settings. It ignores the signals that would change the number of listeners.
It imports neither NumPy nor an engine, because these start threads and the arbiter forks.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from mlrf.core.errors import MlrfError
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.default_model import default_name
from mlrf.serving.processes.access_rules import access_control, warn_if_open
from mlrf.serving.processes.gunicorn_settings import Application, graceful_timeout_s
from mlrf.serving.processes.listeners import Listeners
from mlrf.serving.processes.models_at_start import ModelsAtStart
from mlrf.serving.processes.reload_coordinator import CoordinatorActions, ReloadCoordinator
from mlrf.serving.processes.reload_messages import WAKE
from mlrf.serving.processes.settings_reload import merged
from mlrf.serving.processes.shutdown_delay import ShutdownDelay
from mlrf.serving.processes.systemd import Notifier
from mlrf.serving.processes.worker import BLOCKED_SIGNALS, UvloopWorker
from mlrf.serving.processes.worker_boot import WorkerBoot
from mlrf.serving.processes.worker_slots import Slot, boot_failure_status
from mlrf.serving.telemetry.metric_positions import clear_gauges

_MISSED_POLL_S = 2.0
"""If the arbiter has not checked its workers for this long, the machine was stalled and they may have been too, so their
heartbeats get the same time again."""


class SlotArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's arbiter over worker slots."""

    # A worker that cannot start must not end the others, so no exit code has that meaning here.
    WORKER_BOOT_ERROR = -1
    APP_LOAD_ERROR = -1

    def __init__(
        self,
        app: Application,
        boot: WorkerBoot,
        listeners: Listeners,
        at_start: ModelsAtStart,
        notifier: Notifier,
        reload_settings: Callable[[], ServeSettings],
        look_at_stores: Callable[[], bool],
    ) -> None:
        super().__init__(app)
        self.timeout = boot.settings.worker_timeout_s
        self._notifier = notifier
        self._reload_settings = reload_settings
        self._look_at_stores = look_at_stores
        self.LISTENERS = [*listeners.sockets, *([] if boot.grpc is None else boot.grpc.sockets)]
        self._boot = boot
        self._slots = [Slot(listener) for listener in listeners.sockets]
        self._next = 0
        self._stopping = False
        self._delay = ShutdownDelay()
        self._has_answered = False
        self._ready: set[int] = set()
        self._polled_s = time.monotonic()
        self._patient_until_s = 0.0
        self._to_replace: set[int] = set()
        """Process ids of the workers that run with the previous settings."""
        self._leaving = 0
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._reloading = ReloadCoordinator(
            boot.reload_pages,
            boot.model_directories,
            boot.settings.reload_timeout_s,
            boot.settings.allow_schema_change,
            CoordinatorActions(self._wake_workers, self._end_worker, boot.count_reload),
            boot.log,
            boot.pinned,
            boot.refused,
        )
        self._reloading.begin(at_start.versions, at_start.unavailable)
        self.cfg.set("pre_fork", self._equip)
        self.cfg.set("child_exit", self._worker_ended)

    def spawn_workers(self) -> None:
        """Start a worker in every empty slot whose back-off has passed."""
        now = time.monotonic()
        for number, slot in enumerate(self._slots):
            if slot.pid not in self.WORKERS and now >= slot.due_s:
                self._next = number
                slot.started_s = now
                # A signal between the fork and the worker's own handlers would run the arbiter's handlers in the worker.
                signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
                try:
                    slot.pid = self.spawn_worker()
                except OSError as error:
                    self._not_started(number, error)
                finally:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)

    def _not_started(self, number: int, error: OSError) -> None:
        """Try again later: a shortage (of file descriptors, processes, memory) must cost one worker, not the service."""
        if os.getpid() != self._boot.arbiter:
            raise error
        os.umask(self._umask)  # gunicorn sets another umask while it creates the heartbeat file
        delay_s = self._delay_after_failure(number)
        self._boot.log.error("worker not started", slot=number, reason=str(error), delay_s=delay_s)

    def init_signals(self) -> None:
        """Also handle messages of workers, and a SIGHUP that arrived while the server started."""
        super().init_signals()
        signal.signal(WAKE, self.signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))

    def handle_urg(self) -> None:
        """Wake up: a worker has sent a message, which `manage_workers` reads next."""

    def manage_workers(self) -> None:
        """Replace dead workers, publish which slots answer, and advance the reload in progress."""
        self._boot.access.refresh_all()
        super().manage_workers()
        self._boot.note_stores(up=self._look_at_stores())
        ready = self._boot.ready_slots()
        if ready != self._ready:
            self._ready = ready
            self._wake_workers()
        if not self._has_answered and self._boot.has_answered():
            self._has_answered = True
            self._notifier.ready()
        now_s = time.monotonic()
        self._reloading.step(now_s, self._boot.serving_slots())
        self._replace_one(ready)
        if self._delay.is_over(now_s):
            raise StopIteration

    def murder_workers(self) -> None:
        """Kill workers whose heartbeat has stopped; a stopped process reacts to SIGKILL only."""
        now = time.monotonic()
        if now - self._polled_s > _MISSED_POLL_S:
            self._patient_until_s = now + _MISSED_POLL_S
        self._polled_s = now
        if now < self._patient_until_s:
            return
        for pid, worker in tuple(self.WORKERS.items()):
            with suppress(OSError, ValueError):
                silent_s = now - worker.tmp.last_update()
                if silent_s > self.timeout:
                    self._boot.log.error(
                        "worker not responding", slot=worker.slot, worker_pid=pid, silent_s=round(silent_s, 1)
                    )
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

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """Return the signals that came, after `timeout` seconds or when the shutdown delay is over."""
        signals: list[int] = super().wait_for_signals(self._delay.left_s(time.monotonic(), timeout))
        return signals

    def handle_term(self) -> None:
        """Stop after the shutdown delay: `/readyz` answers 503 until then. A second SIGTERM ends the delay."""
        # If no worker has answered yet, no load balancer sends requests here.
        delay_s = self._boot.settings.shutdown_delay_s if self._boot.has_answered() else 0.0
        if self._delay.has_begun or not delay_s:
            self._boot.log.info("shutting down", delay_s=0)
            raise StopIteration
        self._boot.log.info("shutting down", delay_s=delay_s)
        self._delay.begin(time.monotonic(), delay_s)
        self._notifier.stopping()
        self._boot.note_shutdown()
        self._wake_workers()

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers; from here on their exits are not counted as failures."""
        self._stopping = True
        self._notifier.stopping()
        super().stop(graceful)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a signal to a worker."""
        if sig == signal.SIGKILL:
            self.log.killed.add(pid)
        super().kill_worker(pid, sig)

    def kill_workers(self, sig: int) -> None:
        """Send a signal to every worker; at exit, gunicorn last sends SIGKILL to those that are still running."""
        for pid, worker in self.WORKERS.items() if sig == signal.SIGKILL else ():
            self._boot.log.error("worker not responding", slot=worker.slot, worker_pid=pid, at_exit=True)
        super().kill_workers(sig)

    def handle_hup(self) -> None:
        """Reload the settings and replace the workers one by one; invalid settings change nothing."""
        boot = self._boot
        try:
            settings, changed, refused = merged(boot.settings, self._reload_settings())
            default_name([bundle.name for bundle in boot.bundles], settings.default)
            access = access_control(settings, boot.layout, boot.log)
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
        warn_if_open(settings, self.LISTENERS, boot.log)
        self.timeout = settings.worker_timeout_s
        self.cfg.set("graceful_timeout", graceful_timeout_s(settings))
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
        self._boot.log.warning("signal ignored", signal="USR2", remedy="start a new server next to the old one")

    def _equip(self, _arbiter: Arbiter, worker: UvloopWorker) -> None:
        worker.slot = self._next
        worker.boot = self._boot
        worker.plan = self._reloading.plan
        worker.sockets = [self._slots[self._next].listener]
        worker.siblings = {n: slot.listener for n, slot in enumerate(self._slots) if n != self._next}

    def _worker_ended(self, _arbiter: Arbiter, worker: UvloopWorker) -> None:
        if not self.LISTENERS:
            return  # gunicorn closes its listeners first when it stops
        boot, slot = self._boot, self._slots[worker.slot]
        clear_gauges(boot.layout, boot.block.row(worker.slot))
        slot.exit_code = boot.take_failure(worker.slot)
        if self._stopping:
            return
        if boot.take_leaving(worker.slot):
            slot.exited()
            boot.log.info("worker left", slot=worker.slot, worker_pid=worker.pid)
            return
        self._reloading.crashed(worker.slot)
        lived_s = round(time.monotonic() - slot.started_s, 1)
        delay_s = self._delay_after_failure(worker.slot)
        boot.log.warning("worker ended", slot=worker.slot, worker_pid=worker.pid, lived_s=lived_s, delay_s=delay_s)

    def _delay_after_failure(self, number: int) -> float:
        """Return the pause before the slot's next worker; raises HaltServer if the service can never answer."""
        now = time.monotonic()
        self._boot.count_failure(number)
        alone = not self._boot.ready_slots()
        delay_s = self._slots[number].failed(now, alone=alone)
        for other in self._slots if alone else ():
            other.shorten_delay(now)
        if not self._boot.has_answered() and (status := boot_failure_status(self._slots)):
            raise HaltServer("no worker could start", status)
        return delay_s
