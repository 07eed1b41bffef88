"""What an operator may choose for a server, checked before a socket opens."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from mlrf.core.errors import ConfigError
from mlrf.core.schema import Leniency
from mlrf.engines.choice import ENGINES
from mlrf.serving.http.server import HttpLimits
from mlrf.serving.logs import LEVELS
from mlrf.serving.processes.admin_listener import parse_admin

_MAX_PORT = 65535
_MAX_WORKERS = 256
_MAX_BACKLOG = 65535
_MAX_TIMEOUT_S = 86400
_MIN_HEADER_BYTES = 256
"""What the shortest heads of common clients need."""


def usable_cpus() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Everything `mlrf serve` can be told; ConfigError names the option whose value is wrong."""

    bundles: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = field(default_factory=usable_cpus)
    default: str | None = None
    """The model that routes without a name ask; None for the first bundle's."""
    engine: str | None = None
    leniency: Leniency = field(default_factory=Leniency)
    max_batch: int = 100
    limits: HttpLimits = field(default_factory=HttpLimits)
    backlog: int = 2048
    drain_timeout_s: float = 10.0
    worker_timeout_s: float = 5.0
    """A worker that has not given a sign of life for this long is replaced."""
    admin: str | None = None
    """Where the admin listener stands, `unix:/PATH` or `HOST:PORT` of this machine; None for nowhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        _check(bool(self.bundles), "BUNDLE", "name at least one bundle to serve")
        _check(0 <= self.port <= _MAX_PORT, "--port", f"{self.port} is not a port; choose 0 to {_MAX_PORT}")
        _check(1 <= self.workers <= _MAX_WORKERS, "--workers", f"{self.workers} is not 1 to {_MAX_WORKERS}")
        _check(self.engine in (None, *ENGINES), "--engine", f"{self.engine!r} is not one of {', '.join(ENGINES)}")
        _check(self.max_batch >= 1, "--max-batch", f"{self.max_batch} is less than 1")
        _check(1 <= self.backlog <= _MAX_BACKLOG, "--backlog", f"{self.backlog} is not 1 to {_MAX_BACKLOG}")
        drain_s, worker_s = self.drain_timeout_s, self.worker_timeout_s
        _check(0 <= drain_s <= _MAX_TIMEOUT_S, "--drain-timeout", f"{drain_s:g} is not 0 to {_MAX_TIMEOUT_S} seconds")
        _check(
            1 <= worker_s <= _MAX_TIMEOUT_S, "--worker-timeout", f"{worker_s:g} is not 1 to {_MAX_TIMEOUT_S} seconds"
        )
        _check(self.log_level in LEVELS, "--log-level", f"{self.log_level!r} is not one of {', '.join(LEVELS)}")
        if self.admin is not None:
            parse_admin(self.admin)
        for limit in fields(self.limits):
            option, value = "--" + limit.name.removesuffix("_s").replace("_", "-"), getattr(self.limits, limit.name)
            _check(value > 0, option, f"{value} is not above 0")
            if limit.name.endswith("_s"):
                _check(value <= _MAX_TIMEOUT_S, option, f"{value:g} is more than {_MAX_TIMEOUT_S} seconds")
        least, header_bytes = _MIN_HEADER_BYTES, self.limits.max_header_bytes
        _check(
            header_bytes >= least, "--max-header-bytes", f"{header_bytes} is less than {least}: too few for any client"
        )


def _check(holds: bool, option: str, reason: str) -> None:
    if not holds:
        raise ConfigError(f"{option}: {reason}", option=option)
