"""What an operator may choose for a server: the one table of options (option.py says how a line of it is read)."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from mlrf.core.errors import ConfigError
from mlrf.core.schema import Leniency
from mlrf.engines.selection import ENGINES
from mlrf.features.store_location import default_state_dir, wrong_in_address
from mlrf.serving.auth.settings import AuthSettings
from mlrf.serving.cache.settings import MIN_WORKER_BYTES, CacheSettings
from mlrf.serving.config.admin_address import parse_admin
from mlrf.serving.config.cpus import usable_cpus
from mlrf.serving.http.settings import HttpLimits
from mlrf.serving.oip.grpc.settings import GrpcSettings
from mlrf.serving.option import Group, at_least, between, check_all, option, options_of, seconds
from mlrf.serving.telemetry.logs import LEVELS
from mlrf.serving.telemetry.settings import TelemetrySettings


def _check_admin(address: str) -> str | None:
    try:
        parse_admin(address)
    except ConfigError as error:
        return str(error).removeprefix("--admin: ")
    return None


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Everything `mlrf serve` can be told; ConfigError names the option whose value is wrong."""

    bundles: tuple[Path, ...] = option(
        (), "a bundle that `mlrf build` made", group=Group.MODELS, kind=Path, metavar="BUNDLE", positional=True
    )
    host: str = option("127.0.0.1", "address to listen on", group=Group.LISTENING)
    port: int = option(8080, "port to listen on; 0 for any free one", group=Group.LISTENING, check=between(0, 65535))
    backlog: int = option(2048, "connections that may wait, a worker", group=Group.LISTENING, check=between(1, 65535))
    default: str | None = option(
        None, "the model that /predict asks (the first bundle's)", group=Group.MODELS, kind=str
    )
    engine: str | None = option(
        None, "the engine that answers (the best that the bundle has files for)",
        group=Group.MODELS, kind=str, choices=ENGINES,
    )  # fmt: skip
    max_batch: int = option(100, "instances a batch may hold", group=Group.REQUESTS, check=at_least(1))
    max_infer_rows: int = option(10_000, "rows a request of /v2 may hold", group=Group.REQUESTS, check=at_least(1))
    unknown_features: Literal["refuse", "ignore"] = option(
        "refuse", "names that are no feature", group=Group.REQUESTS, choices=("refuse", "ignore")
    )
    unknown_categories: Literal["refuse", "missing"] = option(
        "refuse", "values in no list of categories", group=Group.REQUESTS, choices=("refuse", "missing")
    )
    limits: HttpLimits = field(default_factory=HttpLimits)
    state_dir: Path = option(
        default_state_dir, "where rows by key live while they change", group=Group.FEATURES, kind=Path, metavar="DIR"
    )
    features: str | None = option(
        None, "redis://HOST:PORT/0 of a store that machines share (one of this machine, under --state-dir)",
        group=Group.FEATURES, kind=str, metavar="URL", check=wrong_in_address, secret=True,
    )  # fmt: skip
    features_timeout_s: float = option(
        0.005, "until a shared store counts as silent", group=Group.FEATURES, check=between(0.001, 10, " seconds")
    )
    max_feature_age_s: float | None = option(
        None, "how old a stored row may be, in seconds (any age)", group=Group.FEATURES, kind=float,
        check=lambda value: None if value > 0 else f"{value:g} is not above 0",
    )  # fmt: skip
    stale_features: Literal["refuse", "flag"] = option(
        "refuse", "what becomes of older rows", group=Group.FEATURES, choices=("refuse", "flag")
    )
    caching: CacheSettings = field(default_factory=CacheSettings)
    workers: int = option(
        usable_cpus, "worker processes (one a processor)", group=Group.PROCESSES, check=between(1, 256)
    )
    drain_timeout_s: float = option(
        10.0, "to finish requests at exit", group=Group.PROCESSES, check=between(0, 86400, " seconds")
    )
    worker_timeout_s: float = option(
        3.0, "until a silent worker is replaced", group=Group.PROCESSES, check=seconds(least=1)
    )
    max_requests: int = option(
        0, "answers until a worker is replaced by a fresh one; 0 for never", group=Group.PROCESSES, check=at_least(0)
    )
    max_requests_jitter: int = option(
        0, "up to so many more, so that not all are replaced at once", group=Group.PROCESSES, check=at_least(0)
    )
    reload_timeout_s: float = option(
        60.0,
        "for every worker to prepare a version, or the old one stays; at the start, for the checks of a model",
        group=Group.PROCESSES,
        check=seconds(),
    )
    allow_schema_change: bool = option(
        False, "take versions that ask other things of their callers into service", group=Group.MODELS
    )
    on_bad_model: Literal["fall-back", "exit"] = option(
        "fall-back",
        "at the start, what a repository's model whose current version is bad does: serve an earlier one, or end the server",
        group=Group.MODELS,
        choices=("fall-back", "exit"),
    )
    admin: str | None = option(
        None,
        "unix:/PATH or HOST:PORT of this machine, for admin routes (none)",
        group=Group.LISTENING,
        kind=str,
        metavar="ADDRESS",
        check=_check_admin,
    )
    grpc: GrpcSettings = field(default_factory=GrpcSettings)
    access: AuthSettings = field(default_factory=AuthSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", "the least that is logged", group=Group.TELEMETRY, choices=tuple(LEVELS)[:4]
    )

    def __post_init__(self) -> None:
        if not self.bundles:
            raise ConfigError("BUNDLE: name at least one bundle to serve", option="BUNDLE")
        check_all(self, OPTIONS)
        if self.caching.shared_cache and not self.caching.size_bytes:
            raise ConfigError("--shared-cache: stands behind --cache, which is 0", option="--shared-cache")
        least = MIN_WORKER_BYTES * self.workers
        if 0 < self.caching.size_bytes < least:
            raise ConfigError(
                f"--cache: {self.caching.cache} is too little for {self.workers} workers; give {least} bytes or more, or 0",
                option="--cache",
            )
        for flag, url in (("--features", self.features), ("--shared-cache", self.caching.shared_cache)):
            if url is not None and find_spec("redis") is None:
                raise ConfigError(f"{flag}: needs `pip install 'mlrf[redis]'`", option=flag)
        self.access.check()
        self.grpc.check()

    @property
    def leniency(self) -> Leniency:
        """What the server lets pass unless a request says otherwise."""
        return Leniency(self.unknown_features, self.unknown_categories)


OPTIONS = tuple(options_of(ServeSettings))
