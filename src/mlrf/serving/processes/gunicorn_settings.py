"""gunicorn's settings, derived from the server's.

`gunicorn.config` declares a class for each of its 120 settings, and would be the largest module of a start. gunicorn reads a
few of the settings only, so they are given here with their defaults; that module is imported for any other one.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.worker import UvloopWorker
from mlrf.serving.telemetry.logs import ArbiterLog


class GunicornSettings:
    """The settings that gunicorn reads, as attributes."""

    def __init__(self, values: dict[str, Any]) -> None:
        """Take values by the names of gunicorn's settings; all others have gunicorn's defaults."""
        self.settings: dict[str, Any] = {}
        """What gunicorn would log at its start."""
        self.__dict__.update(_defaults(), **values)

    def set(self, name: str, value: object) -> None:
        """Change a setting."""
        setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(_all_defaults(), name)


class Application:
    """gunicorn's view of the server: its settings. Workers open their models themselves."""

    def __init__(self, settings: ServeSettings) -> None:
        self.cfg = GunicornSettings(
            {
                # gunicorn only stores it: the listeners are bound already.
                "address": [(settings.host, settings.port)],
                "workers": settings.workers,
                "worker_class": UvloopWorker,
                "worker_class_str": UvloopWorker.__name__,
                "logger_class": ArbiterLog,
                "timeout": max(1, round(settings.worker_timeout_s)),
                "graceful_timeout": graceful_timeout_s(settings),
                "control_socket_disable": True,
                "worker_tmp_dir": _memory_folder(),
                "proc_name": "mlrf",
            }
        )


def _defaults() -> dict[str, Any]:
    """Return gunicorn's defaults of the other settings that its arbiter and workers read."""
    hooks = ("on_starting", "when_ready", "pre_fork", "post_fork", "post_worker_init", "child_exit", "worker_exit")
    return {
        **dict.fromkeys((*hooks, "worker_int", "on_exit", "nworkers_changed"), _no_hook),
        "daemon": False,
        "dirty_apps": [],
        "dirty_workers": 0,
        "enable_backlog_metric": False,
        "env": {},
        "gid": os.getegid(),
        "initgroups": False,
        "max_requests": 0,
        "max_requests_jitter": 0,
        "pidfile": None,
        "preload_app": False,
        "reload": False,
        "reuse_port": False,
        "uid": os.geteuid(),
        "umask": 0,
    }


def _no_hook(*_arguments: object) -> None: ...


@cache
def _all_defaults() -> Any:
    from gunicorn.config import Config  # noqa: PLC0415  for a setting that this module does not know

    return Config()


def graceful_timeout_s(settings: ServeSettings) -> int:
    """Return the seconds after which the arbiter kills workers that still drain."""
    return max(1, round(settings.drain_timeout_s) + 2)


def _memory_folder() -> str | None:
    """Return a folder in memory for heartbeat files: on a disk, a stalled write would look like a stalled worker."""
    folder = Path("/dev/shm")  # noqa: S108  heartbeat files are unnamed as soon as they are made
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
