"""Starts a server: reads and checks what it serves, then runs it.

A child process checks the files of bundles and replays their golden rows. Meanwhile this process imports the rest of the
server, which takes as long; therefore this module imports what it needs until then and no more.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.deferred_imports import import_gunicorn, import_uvloop
from mlrf.serving.processes.model_stores import open_stores
from mlrf.serving.processes.models_at_start import ModelsAtStart
from mlrf.serving.processes.start_timing import StartTiming
from mlrf.serving.processes.systemd import Notifier, inherited_listeners
from mlrf.serving.telemetry.logs import Log


def serve(settings: ServeSettings, reload_settings: Callable[[], ServeSettings]) -> None:
    """Serve until stopped by a signal; `reload_settings` reloads the settings, or raises ConfigError.

    Raises SystemExit with 0 after a stop, ConfigError if the settings cannot be met (a port in use), BundleError if a
    bundle is damaged or no worker could open it.
    """
    # PID 1 of a container ignores signals without a handler, and loading may take long.
    signal.signal(signal.SIGTERM, _leave)
    timing = StartTiming()
    timing.end_phase("imports and settings")
    log = Log(settings.log_level)
    stores = open_stores(settings)
    notifier = Notifier(os.environ)
    inherited = inherited_listeners(os.environ)
    stores.wait(settings.store_timeout_s)
    at_start = ModelsAtStart(settings, {**_built(settings, log), **stores.mirrors}, _import_server)
    timing.end_phase("models and replay")
    from mlrf.serving.processes.run_server import run_server  # noqa: PLC0415  imported while the models were replayed

    run_server(settings, reload_settings, at_start, inherited, notifier, stores.look, log, timing)


def _built(settings: ServeSettings, log: Log) -> dict[Path, Path]:
    """Return the bundles that `--build-at-start` built, by the path of the model file."""
    if not settings.build_at_start:
        return {}
    from mlrf.serving.processes.build_at_start import build_models  # noqa: PLC0415  most servers build nothing

    return build_models(settings, log)


def _import_server() -> None:
    import_gunicorn()
    import_uvloop()
    importlib.import_module("mlrf.serving.processes.run_server")


def _leave(*_signal: object) -> None:
    raise SystemExit(0)
