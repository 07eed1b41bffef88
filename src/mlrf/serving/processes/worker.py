"""A worker: an event loop, the models, and the listener of its slot. gunicorn forks it, watches it and ends it."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import signal
import socket
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop
from gunicorn.workers.base import Worker

from mlrf.core.errors import MlrfError
from mlrf.core.parent_death import die_with_parent
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http.server import HttpServer
from mlrf.serving.http.tls_connection import new_connection
from mlrf.serving.models.service import Service
from mlrf.serving.processes.accept import Acceptors, ConnectionAcceptor, covered_by
from mlrf.serving.processes.admin_listener import AdminListener
from mlrf.serving.processes.bundle_lookup import bundles_of, find
from mlrf.serving.processes.listeners import Listeners
from mlrf.serving.processes.load_requests import ModelLoader
from mlrf.serving.processes.process_tuning import limits_that_fit, settle, share_one_arena
from mlrf.serving.processes.reload_messages import WAKE, Plan
from mlrf.serving.processes.reload_worker import WorkerReload
from mlrf.serving.processes.worker_boot import WorkerBoot
from mlrf.serving.routes import prediction_labels
from mlrf.serving.runtime.request_runtime import BEAT_S
from mlrf.serving.telemetry.request_observer import open_observer
from mlrf.serving.telemetry.worker_meter import WorkerMeter

if TYPE_CHECKING:
    from mlrf.serving.oip.grpc.server import GrpcServer

BLOCKED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Signals blocked by the arbiter across the fork, and unblocked by the worker once it has its own handlers."""
_MAX_BOOT_S = 300.0
_CONNECT_S = 0.25
"""Seconds that a worker waits at its start for a shared store, so that its first request finds a connection."""
_GRPC = "mlrf.serving.oip.grpc.server"


class UvloopWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """One worker process. `slot`, `boot`, `plan` and `siblings` are set by the arbiter before the fork."""

    slot: int
    boot: WorkerBoot
    siblings: Mapping[int, socket.socket]
    """The listeners of other slots, which this process accepts from while they have no worker."""
    plan: Plan
    """The plan from which the models are opened; `boot.pinned` has the descriptors that belong to it."""

    def init_signals(self) -> None:
        """Leave signals to the event loop; until it runs, they have their default effect."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C reaches every process of a terminal; only the arbiter acts on it, and on signals that may reach a whole group.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, WAKE):
            signal.signal(number, signal.SIG_IGN)

    def init_process(self) -> None:
        """Open the models, then serve until stopped."""
        # Until it serves: a worker that serves notices the arbiter's death itself, and finishes its answers first.
        die_with_parent(self.ppid)
        self.init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)
        share_one_arena()
        boot = self.boot
        self.meter = WorkerMeter(boot.layout, boot.block.row(self.slot))
        self._booted = threading.Event()
        threading.Thread(target=self._stay_alive, daemon=True).start()
        try:
            self.watch = open_observer(boot.settings.telemetry, prediction_labels(), self.slot, self.meter, boot.log)
            versions = {**self.plan.unloaded, **self.plan.versions}
            self.model_loader = ModelLoader(
                versions.keys(),
                boot.reload_pages.commands[self.slot],
                boot.reload_pages.outcomes[self.slot],
                boot.settings.reload_timeout_s,
                boot.wake_arbiter,
                partial(find, boot),
            )
            with bundles_of(boot, self.plan) as bundles:
                self.service = Service(
                    bundles,
                    boot.settings,
                    self.meter,
                    boot.exposition,
                    {name: version.number for name, version in versions.items()},
                    self.plan.unloaded,
                    self.model_loader,
                    boot.refused,
                    boot.costs,
                )
            if boot.grpc is not None:
                # Before this worker is ready, so that its first call does not wait for imports.
                importlib.import_module(_GRPC)
        except Exception as error:
            reason = str(error) or type(error).__name__
            boot.log.error("worker cannot start", slot=self.slot, reason=reason, fault=_unforeseen(error))  # noqa: TRY400  not logging
            boot.report_failure(self.slot, error)
            self._booted.set()
            raise SystemExit(1) from error
        settle()
        super().init_process()

    def run(self) -> None:
        """Serve until stopped."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        boot, service, settings = self.boot, self.service, self.boot.settings
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        die_with_parent(self.ppid, signal.SIGTERM)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, 0)
        errors = ErrorEncoder(boot.log, self.meter.count_refusal)
        limits = limits_that_fit(settings.limits, 1 if boot.grpc is None else 2)
        server = HttpServer(service.generation.router(), limits, self.meter, errors, self.notify, self.watch)
        server.bound_turns()
        boot.access.apply(server)
        servers = [server]
        accepting = Acceptors(
            ConnectionAcceptor(
                partial(new_connection, server), server.tls_options, self.sockets[0], self.siblings, settings.backlog
            )
        )
        grpc: GrpcServer | None = None

        def route() -> None:
            server.route_by(service.generation.router())
            if grpc is not None:
                grpc.answer_by(service.generation.plane)

        worker_reload = WorkerReload(boot, self.slot, service, self.plan, route)

        def follow() -> None:
            worker_reload.follow()
            self.model_loader.poll()

        def poll() -> None:
            boot.access.refresh()
            follow()
            self._note_shutdown(grpc)
            accepting.cover(covered_by(self.slot, boot.ready_slots(), boot.block.n_slots))

        await service.connect(_CONNECT_S)
        await self._be_ready(worker_reload)
        if boot.grpc is not None:
            grpc = self._grpc_server(server, errors)
            accepting.add(self._grpc_acceptor(boot.grpc, grpc))
        self._note_shutdown(grpc)
        await accepting.begin()
        admin = None
        if boot.admin is not None:
            servers.append(self._admin_server(boot.admin, errors))
            admin = await _listen(loop, servers[-1], boot.admin.socket)
        loop.add_signal_handler(WAKE, poll)
        boot.note_answered(self.slot)
        boot.wake_arbiter()
        boot.log.debug("worker ready", slot=self.slot)
        await self._run_until(stop, servers, poll)
        self._leave()
        # Other workers accept for this slot from now on; this worker still answers its connections, from the same versions.
        loop.add_signal_handler(WAKE, follow)
        boot.wake_arbiter()
        if admin is not None:
            admin.close()
        await accepting.end(set(range(boot.block.n_slots)) - boot.ready_slots())
        await self._drain(servers, grpc)

    def _note_shutdown(self, grpc: GrpcServer | None) -> None:
        """Make readiness probes fail once the server was asked to stop."""
        if self.boot.is_shutting_down() and not self.service.draining:
            self.service.draining = True
            self.boot.exposition.set_shutting_down()
            if grpc is not None:
                grpc.leave()

    def _leave(self) -> None:
        """Report that this worker is stopping."""
        self.service.draining = True
        self.boot.note_leaving(self.slot)
        self.meter.set_ready(ready=False)

    def _admin_server(self, listener: AdminListener, errors: ErrorEncoder) -> HttpServer:
        limits = self.boot.settings.limits
        server = HttpServer(self.service.admin_router(), limits, self.meter, errors, self.notify)
        if listener.socket.family != socket.AF_UNIX:
            # File permissions protect a Unix socket; a port of this machine is open to all its users, and to their browsers.
            server.guard = self.boot.access.admin_guard()
        return server

    async def _drain(self, servers: list[HttpServer], grpc: GrpcServer | None) -> None:
        """Finish the requests in progress, within the time limit."""
        boot = self.boot
        draining: list[HttpServer | GrpcServer] = [*servers, *([] if grpc is None else [grpc])]
        await asyncio.gather(*(each.drain(boot.settings.drain_timeout_s) for each in draining))
        left = sum(await asyncio.gather(*(each.stop() for each in servers)))
        self.watch.close()
        if left:
            boot.log.warning("connections cut at exit", slot=self.slot, connections=left)

    def _grpc_server(self, server: HttpServer, errors: ErrorEncoder) -> GrpcServer:
        from mlrf.serving.oip.grpc.server import GrpcServer  # noqa: PLC0415  protobuf is an extra

        grpc = GrpcServer(server, errors, self.boot.access, self.service.check_serving, self.meter)
        grpc.answer_by(self.service.generation.plane)
        grpc.start()
        return grpc

    def _grpc_acceptor(self, listeners: Listeners, grpc: GrpcServer) -> ConnectionAcceptor:
        siblings = {slot: each for slot, each in enumerate(listeners.sockets) if slot != self.slot}
        own, backlog = listeners.sockets[self.slot], self.boot.settings.backlog
        return ConnectionAcceptor(grpc.new_connection, grpc.tls_options, own, siblings, backlog)

    async def _be_ready(self, worker_reload: WorkerReload) -> None:
        """Report that this worker answers, and make it answer from what is served by then.

        It reports before it reads the plan again: if both change, one side sees the other, and no old version is answered.
        """
        self.meter.set_ready(ready=True)
        while worker_reload.is_behind():
            self.meter.set_ready(ready=False)
            await worker_reload.catch_up(self.notify)
            self.meter.set_ready(ready=True)

    async def _run_until(self, stop: asyncio.Event, servers: list[HttpServer], poll: Any) -> None:
        """Return when the worker is asked to stop, when the arbiter is gone, or after `max_requests` requests."""
        boot, settings = self.boot, self.boot.settings
        jitter = random.randint(0, settings.max_requests_jitter)  # noqa: S311  no secret
        last = self.meter.n_requests() + settings.max_requests + jitter if settings.max_requests else None
        while not stop.is_set() and os.getppid() == self.ppid:
            for server in servers:
                server.tick()
            self._booted.set()
            self.meter.count_cpu()
            self.meter.set_waiting(*servers[0].work.n_in_flight())
            self.watch.tick()
            poll()
            # One at a time: this worker still covers a slot that is already empty.
            if last is not None and self.meter.n_requests() >= last and len(boot.ready_slots()) == boot.block.n_slots:
                boot.log.info("worker recycled", slot=self.slot)
                return
            try:
                await asyncio.wait_for(stop.wait(), BEAT_S)
            except TimeoutError:
                continue

    def _stay_alive(self) -> None:
        """Send heartbeats while a large model loads, until the event loop sends them."""
        waited_s = 0.0
        while not self._booted.wait(BEAT_S) and waited_s < _MAX_BOOT_S:
            waited_s += BEAT_S
            self.notify()

    def load_wsgi(self) -> None:
        """Do nothing: there is no WSGI application."""

    def handle_quit(self, *_signal: Any) -> None:
        """Exit at once."""
        os._exit(0)


async def _listen(loop: asyncio.AbstractEventLoop, server: HttpServer, listener: socket.socket) -> asyncio.Server:
    accept = partial(new_connection, server)
    if listener.family == socket.AF_UNIX:
        return await loop.create_unix_server(accept, sock=listener)
    return await loop.create_server(accept, sock=listener)


def _unforeseen(error: Exception) -> Exception | None:
    return None if isinstance(error, MlrfError) else error
