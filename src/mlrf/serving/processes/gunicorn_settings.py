"""gunicorn's settings, derived from the server's."""

from __future__ import annotations

import os
from pathlib import Path

from gunicorn.app.base import BaseApplication

from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.worker import UvloopWorker
from mlrf.serving.telemetry.logs import ArbiterLog


class Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's view of the server's settings."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        super().__init__(prog="mlrf serve")

    def load_config(self) -> None:
        """Set gunicorn's settings from the server's."""
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        options = {
            # gunicorn only parses it: the listeners are bound already.
            "bind": [f"{host}:{settings.port}"],
            "workers": settings.workers,
            "worker_class": UvloopWorker,
            "logger_class": ArbiterLog,
            "timeout": max(1, round(settings.worker_timeout_s)),
            "graceful_timeout": graceful_timeout_s(settings),
            "control_socket_disable": True,
            "worker_tmp_dir": _memory_folder(),
            "proc_name": "mlrf",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> None:
        """Load nothing: workers open their models themselves."""


def graceful_timeout_s(settings: ServeSettings) -> int:
    """Return the seconds after which the arbiter kills workers that still drain."""
    return max(1, round(settings.drain_timeout_s) + 2)


def _memory_folder() -> str | None:
    """Return a folder in memory for heartbeat files: on a disk, a stalled write would look like a stalled worker."""
    folder = Path("/dev/shm")  # noqa: S108  heartbeat files are unnamed as soon as they are made
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
