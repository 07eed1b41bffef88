"""Runs a server whose models are checked: binds its listeners and runs the arbiter, which forks the workers.

`startup` imports this module while a child process replays golden rows: here belongs what needs the whole server.
"""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable, Sequence

from mlrf import __version__
from mlrf.core.bundle import Bundle
from mlrf.features.seed_store import import_rows
from mlrf.serving.config.admin_address import parse_admin
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.access_rules import access_control, warn_if_open
from mlrf.serving.processes.admin_listener import AdminListener
from mlrf.serving.processes.arbiter import SlotArbiter
from mlrf.serving.processes.gunicorn_settings import Application
from mlrf.serving.processes.listeners import Listeners, bind_listeners, spread_listeners
from mlrf.serving.processes.models_at_start import ModelsAtStart
from mlrf.serving.processes.reload_messages import ReloadPages
from mlrf.serving.processes.start_timing import StartTiming
from mlrf.serving.processes.systemd import Notifier
from mlrf.serving.processes.worker_boot import BOOT_WORDS, WorkerBoot
from mlrf.serving.routes import layout
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.logs import ArbiterLog, Log


def run_server(
    settings: ServeSettings,
    reload_settings: Callable[[], ServeSettings],
    at_start: ModelsAtStart,
    inherited: list[socket.socket],
    notifier: Notifier,
    look_at_stores: Callable[[], bool],
    log: Log,
    timing: StartTiming,
) -> None:
    """Serve the models until stopped by a signal; `inherited` are the service manager's listeners, if any.

    Raises as `startup.serve` does.
    """
    bundles = at_start.bundles
    listeners = (
        spread_listeners(inherited, settings.workers)
        if inherited
        else bind_listeners(settings.host, settings.port, settings.workers, settings.backlog)
    )
    served = [bundle for bundle in bundles if bundle.name in at_start.versions]
    _log_refused(at_start, log)
    _import_rows(served, settings, log)
    admin = None if settings.admin is None else AdminListener(parse_admin(settings.admin))
    grpc = _grpc_listeners(settings)
    metric_layout = layout([bundle.name for bundle in bundles], grpc=grpc is not None)
    block = ControlBlock(settings.workers, metric_layout.n_words + BOOT_WORDS)
    labels = [{"model": b.name, "version": b.short_version} for b in served]
    exposition = Exposition(metric_layout, block, labels, __version__)
    reload_pages = ReloadPages(settings.workers, len(bundles))
    access = access_control(settings, metric_layout, log)
    boot = WorkerBoot(
        settings,
        bundles,
        metric_layout,
        block,
        exposition,
        log,
        reload_pages,
        access,
        at_start.model_directories,
        admin,
        grpc,
    )
    boot.refused = at_start.refused
    boot.costs = at_start.costs
    boot.timing = timing if settings.print_timing else None
    boot.arbiter = os.getpid()
    boot.pinned = {bundle.name: bundle.pinned for bundle in bundles if bundle.pinned}
    models = {b.name: b.short_version for b in served}
    url = listeners.url if settings.access.tls_files is None else listeners.url.replace("http:", "https:", 1)
    warn_if_open(settings, [*listeners.sockets, *([] if grpc is None else grpc.sockets)], log)
    log.info("listening", url=url, workers=settings.workers, models=models, version=__version__)
    if grpc is not None:
        log.info("gRPC listening", address=grpc.host_and_port)
    if admin is not None:
        log.info("admin listening", address=admin.name)
    timing.end_phase("listeners")
    ArbiterLog.log = log
    # What is loaded is permanent. Looking for garbage in it costs a tenth of the start (measured: 700 of 35,000 objects).
    gc.freeze()
    gc.enable()
    arbiter = SlotArbiter(Application(settings), boot, listeners, at_start, notifier, reload_settings, look_at_stores)
    try:
        arbiter.run()
    finally:
        # Workers exit through here too, and must not remove anything.
        if admin is not None and os.getpid() == boot.arbiter:
            admin.remove()


def _import_rows(bundles: Sequence[Bundle], settings: ServeSettings, log: Log) -> None:
    """Load the rows of bundles into the feature store if it lacks them: workers would too, but later and without a log."""
    for bundle in bundles:
        began_s = time.monotonic()
        if import_rows(bundle, settings.state_dir, shared=settings.features is not None):
            log.info("rows imported", model=bundle.name, took_s=round(time.monotonic() - began_s, 1))


def _log_refused(at_start: ModelsAtStart, log: Log) -> None:
    """Log each refused version, and the version served instead."""
    for name, each in at_start.refused.items():
        serving = None if each.serving is None else each.serving.number
        log.error("version refused", model=name, version=each.version.number, reason=each.reason, serving=serving)


def _grpc_listeners(settings: ServeSettings) -> Listeners | None:
    """Bind the listeners of gRPC, if gRPC is enabled."""
    options = settings.grpc
    if options.grpc_port is None:
        return None
    host = settings.host if options.grpc_host is None else options.grpc_host
    return bind_listeners(host, options.grpc_port, settings.workers, settings.backlog, "--grpc-")
