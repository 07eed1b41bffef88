"""A worker: an event loop, the models, and the listener of its slot. gunicorn forks it, watches it and ends it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from typing import Any

import uvloop
from gunicorn.workers.base import Worker

from mlrf.core.errors import MlrfError
from mlrf.serving.http.descriptors import connections_that_fit
from mlrf.serving.http.route import Router
from mlrf.serving.http.server import BEAT_S, HttpServer
from mlrf.serving.metrics import WorkerMeter
from mlrf.serving.processes.boot import Boot
from mlrf.serving.refusals import Refusals
from mlrf.serving.service import Service

HELD_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Held back by the arbiter over the fork, let through by the worker once it has handlers of its own."""
_MAX_BOOT_S = 300.0
_SWITCH_S = 5e-4


class UvloopWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """One worker process. `slot`, `boot` and `siblings` are set by the arbiter before the fork."""

    slot: int
    boot: Boot
    siblings: list[socket.socket]
    """The listeners of other slots, which this process inherits and must not keep."""

    def init_signals(self) -> None:
        """Leave signals to the event loop; until it runs, they have their default effect."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C reaches every process of a terminal; the arbiter alone acts on it, and on what may reach a whole group.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    def init_process(self) -> None:
        """Open the models, then serve until told to stop."""
        self.init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
        # A listener lives until its last copy is closed: one kept here would go on queueing connections that its own
        # worker, which has drained and gone, will never accept.
        for listener in self.siblings:
            listener.close()
        boot = self.boot
        self.meter = WorkerMeter(boot.layout, boot.block.row(self.slot))
        booted = threading.Event()
        threading.Thread(target=self._stay_alive, args=(booted,), daemon=True).start()
        try:
            self.service = Service(boot.bundles, boot.settings, self.meter, boot.exposition)
        except Exception as error:
            boot.log.error("worker cannot boot", slot=self.slot, reason=str(error), fault=_unforeseen(error))  # noqa: TRY400  not logging
            boot.report_failure(self.slot, error)
            raise SystemExit(1) from error
        finally:
            booted.set()
        # Work beside the loop must not keep the interpreter from it for the default 5 ms each time they meet.
        sys.setswitchinterval(_SWITCH_S)
        # What is loaded stays loaded: the collector need not walk it, nor write to pages that workers share.
        gc.collect()
        gc.freeze()
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        settings = self.boot.settings
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, 0)
        refusals = Refusals(self.boot.log, self.meter.counters("mlrf_refusals_total"))
        limits = replace(settings.limits, max_connections=connections_that_fit(settings.limits.max_connections))
        server = HttpServer(self.service.generation.router(), limits, self.meter, refusals, self.notify)
        server.watch_lag(loop)
        listener: socket.socket = self.sockets[0]
        # The copy keeps the accept queue when the loop closes its own descriptor.
        queue = listener.dup()
        accepting = await loop.create_server(server.new_connection, sock=listener, backlog=settings.backlog)
        closing: list[asyncio.Server] = [accepting]
        admin = None
        if self.boot.admin is not None:
            routes = Router(self.service.admin.routes, settings.limits.max_body_bytes)
            admin = HttpServer(routes, settings.limits, self.meter, refusals, self.notify)
            closing.append(await _listen(loop, admin, self.boot.admin.socket))
        self.meter.set_ready(ready=True)
        self.boot.note_answered(self.slot)
        self.boot.log.debug("worker ready", slot=self.slot)
        while not stop.is_set() and os.getppid() == self.ppid:
            server.tick()
            if admin is not None:
                admin.tick()
            self.meter.count_cpu()
            try:
                await asyncio.wait_for(stop.wait(), BEAT_S)
            except TimeoutError:
                continue
        self.service.draining = True
        self.meter.set_ready(ready=False)
        for each in closing:
            each.close()
        await _accept_queued(loop, queue, server)
        draining = [each.drain(settings.drain_timeout_s) for each in (server, admin) if each is not None]
        left = sum(await asyncio.gather(*draining))
        if left:
            self.boot.log.warning("connections cut at exit", slot=self.slot, connections=left)

    def _stay_alive(self, booted: threading.Event) -> None:
        """Give signs of life while a large model loads: no loop runs yet that could."""
        waited_s = 0.0
        while not booted.wait(BEAT_S) and waited_s < _MAX_BOOT_S:
            waited_s += BEAT_S
            self.notify()

    def load_wsgi(self) -> None:
        """Do nothing: there is no WSGI application."""

    def handle_quit(self, *_signal: Any) -> None:
        """Exit at once."""
        os._exit(0)


async def _listen(loop: asyncio.AbstractEventLoop, server: HttpServer, listener: socket.socket) -> asyncio.Server:
    if listener.family == socket.AF_UNIX:
        return await loop.create_unix_server(server.new_connection, sock=listener)
    return await loop.create_server(server.new_connection, sock=listener)


async def _accept_queued(loop: asyncio.AbstractEventLoop, queue: socket.socket, server: HttpServer) -> None:
    """Take the connections that clients have made and nobody has accepted yet: they were promised an answer."""
    with queue:
        queue.setblocking(False)
        while True:
            try:
                client, _ = queue.accept()
            except ConnectionAbortedError:
                continue
            except OSError:
                # Nobody waits any more, or there is no descriptor left to take them with.
                return
            await loop.connect_accepted_socket(server.new_connection, client)


def _unforeseen(error: Exception) -> Exception | None:
    return None if isinstance(error, MlrfError) else error
