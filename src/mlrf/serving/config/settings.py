"""The settings of `mlrf serve`: the table of its options, declared as described in option.py."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.core.leniency import Leniency, UnknownCategories
from mlrf.core.manifest import NAME_PATTERN, NAME_RULE
from mlrf.engines.selection import ENGINES, ONNX_EXTRA, ONNX_RUNTIME, onnx_runtime_is_installed
from mlrf.features.local_folders import default_state_dir
from mlrf.features.open_stores import address_forms, missing_extra, wrong_in_address
from mlrf.serving.auth.settings import AuthSettings
from mlrf.serving.cache.settings import MIN_WORKER_BYTES, CacheSettings
from mlrf.serving.config.admin_address import parse_admin
from mlrf.serving.config.cpus import usable_cpus
from mlrf.serving.config.platform_paths import check_platform_paths
from mlrf.serving.oip.grpc.settings import GrpcSettings
from mlrf.serving.option import Group, at_least, between, check_all, option, options_of, seconds
from mlrf.serving.platforms.settings import PlatformSettings
from mlrf.serving.request_limits import RequestLimits
from mlrf.serving.telemetry.logs import LEVELS
from mlrf.serving.telemetry.settings import TelemetrySettings
from mlrf.stores.address import is_address, parse_address


def _check_bundle(path: Path) -> str | None:
    try:
        if is_address(path):
            parse_address(path)
    except ConfigError as error:
        return str(error)
    return None


def _check_admin(address: str) -> str | None:
    try:
        parse_admin(address)
    except ConfigError as error:
        return str(error).removeprefix("--admin: ")
    return None


class ServeSettings(msgspec.Struct, frozen=True):
    """All options of `mlrf serve`; ConfigError names the option whose value is wrong."""

    bundles: tuple[Path, ...] = option(
        (),
        "bundle, model repository, or a model of a repository: REPOSITORY/NAME[@VERSION]; or its address in a store, e.g. s3://…",
        group=Group.MODELS,
        fixed=True,
        kind=Path,
        metavar="BUNDLE",
        positional=True,
        check=_check_bundle,
    )
    find_bundle: bool = option(
        False, "if no BUNDLE is given, serve the one that is mounted at /opt/ml/model, /mnt/models or /models",
        group=Group.MODELS, fixed=True,
    )  # fmt: skip
    host: str = option("127.0.0.1", "address to listen on", group=Group.LISTENING, fixed=True)
    port: int = option(
        8080, "port to listen on; 0 for a free one", group=Group.LISTENING, fixed=True, check=between(0, 65535)
    )
    backlog: int = option(
        2048,
        "connections that may wait to be accepted, per worker",
        group=Group.LISTENING,
        fixed=True,
        check=between(1, 65535),
    )
    default: str | None = option(
        None, "model that answers /predict (default: the first bundle's)", group=Group.MODELS, kind=str
    )
    model_name: str | None = option(
        None, "name under which the one bundle is served (default: its own)", group=Group.MODELS, fixed=True, kind=str,
        check=lambda name: None if NAME_PATTERN.fullmatch(name) else f"{name!r} is not {NAME_RULE}",
    )  # fmt: skip
    allow_links: bool = option(
        False, "follow links to the files of a bundle, as mounted ConfigMaps have them", group=Group.MODELS, fixed=True
    )
    build_at_start: bool = option(
        False,
        "if BUNDLE is a model file, build a bundle from it first; needs --model-name",
        group=Group.MODELS,
        fixed=True,
    )
    engine: str | None = option(
        None, "engine that computes predictions (default: the fastest that the bundle has files for)",
        group=Group.MODELS, fixed=True, kind=str, choices=ENGINES,
    )  # fmt: skip
    max_batch: int = option(
        100, "maximum number of instances in a batch", group=Group.REQUESTS, changes_answers=True, check=at_least(1)
    )
    max_infer_rows: int = option(
        10_000,
        "maximum number of rows in a request of the Open Inference Protocol",
        group=Group.REQUESTS,
        changes_answers=True,
        check=at_least(1),
    )
    unknown_features: Literal["refuse", "ignore"] = option(
        "refuse",
        "what to do with names that are not features",
        group=Group.REQUESTS,
        changes_answers=True,
        choices=("refuse", "ignore"),
    )
    unknown_categories: UnknownCategories = option(
        "refuse",
        "what to do with categories that the model does not have",
        group=Group.REQUESTS,
        changes_answers=True,
        choices=("refuse", "missing", "as-library"),
    )
    strict: bool = option(
        False,
        "accept values and bodies only in their canonical form: true and false for booleans, codes in arrays",
        group=Group.REQUESTS,
        changes_answers=True,
    )
    ui: Literal["on", "off"] = option(
        "on",
        "serve the workbench, a page to try and explain a model, at /ui",
        group=Group.REQUESTS,
        choices=("on", "off"),
    )
    platforms: PlatformSettings = msgspec.field(default_factory=PlatformSettings)
    limits: RequestLimits = msgspec.field(default_factory=RequestLimits)
    state_dir: Path = option(
        default_state_dir, "directory of the feature store", group=Group.FEATURES, kind=Path, metavar="DIR"
    )
    features: str | None = option(
        None, f"shared feature store: {address_forms()} (default: a local one, under --state-dir)",
        group=Group.FEATURES, kind=str, metavar="URL", check=wrong_in_address, secret=True,
    )  # fmt: skip
    features_timeout_s: float = option(
        0.005,
        "seconds to wait for a response from a shared feature store",
        group=Group.FEATURES,
        check=between(0.001, 10, " seconds"),
    )
    max_feature_age_s: float | None = option(
        None,
        "maximum age of a stored row, in seconds since its as-of time (default: no limit)",
        group=Group.FEATURES,
        kind=float,
        check=lambda value: None if value > 0 else f"{value:g} is not above 0",
    )
    stale_features: Literal["refuse", "flag"] = option(
        "refuse", "what to do with rows older than --max-feature-age", group=Group.FEATURES, choices=("refuse", "flag")
    )
    caching: CacheSettings = msgspec.field(default_factory=CacheSettings)
    workers: int = option(
        usable_cpus,
        "worker processes (default: one per processor)",
        group=Group.PROCESSES,
        fixed=True,
        check=between(1, 256),
    )
    shutdown_delay_s: float = option(
        0.0,
        "seconds after SIGTERM in which /readyz answers 503 and requests are still accepted",
        group=Group.PROCESSES,
        check=between(0, 86400, " seconds"),
    )
    # Service managers kill the server after their own limit, 25 s in the files of deploy/ (systemd, kubernetes, kserve):
    # tests/unit/deploy fails for a file whose limit is less than the shutdown delay, this and 5 s together. The options in
    # deploy/systemd/example-name.toml have a value of their own.
    drain_timeout_s: float = option(
        10.0, "seconds to finish open requests at exit", group=Group.PROCESSES, check=between(0, 86400, " seconds")
    )
    worker_timeout_s: float = option(
        3.0,
        "seconds without a heartbeat after which a worker is replaced",
        group=Group.PROCESSES,
        check=seconds(least=1),
    )
    max_requests: int = option(
        0, "requests after which a worker is replaced; 0 for never", group=Group.PROCESSES, check=at_least(0)
    )
    max_requests_jitter: int = option(
        0,
        "maximum random number added to --max-requests, so that workers are not replaced all at once",
        group=Group.PROCESSES,
        check=at_least(0),
    )
    reload_timeout_s: float = option(
        60.0,
        "seconds for every worker to prepare a new version, and for the checks of a model at the start",
        group=Group.PROCESSES,
        check=seconds(),
    )
    allow_schema_change: bool = option(
        False, "load versions whose schema requires callers to change", group=Group.MODELS
    )
    store_poll_s: float = option(
        10.0,
        "seconds between checks for new versions in the stores that bundles are served from",
        group=Group.MODELS,
        fixed=True,
        check=between(0.1, 86400, " seconds"),
    )
    store_timeout_s: float = option(
        60.0,
        "seconds for a store to answer at the start if no version of its models has been fetched before",
        group=Group.MODELS,
        fixed=True,
        check=seconds(),
    )
    on_bad_model: Literal["fall-back", "exit"] = option(
        "fall-back",
        "what to do at the start if the current version of a repository's model is damaged: serve an earlier one, or exit",
        group=Group.MODELS,
        fixed=True,
        choices=("fall-back", "exit"),
    )
    admin: str | None = option(
        None,
        "address of the admin routes, as unix:/PATH or 127.0.0.1:PORT (default: no admin routes)",
        group=Group.LISTENING,
        fixed=True,
        kind=str,
        metavar="ADDRESS",
        check=_check_admin,
    )
    grpc: GrpcSettings = msgspec.field(default_factory=GrpcSettings)
    access: AuthSettings = msgspec.field(default_factory=AuthSettings)
    require_signature: tuple[Path, ...] = option(
        (),
        "public key (PEM) that must have signed a bundle; may be repeated, then a signature by any of the keys is enough",
        group=Group.ACCESS,
        fixed=True,
        kind=Path,
        metavar="KEY",
    )
    telemetry: TelemetrySettings = msgspec.field(default_factory=TelemetrySettings)
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", "lowest level of events that are logged", group=Group.TELEMETRY, choices=tuple(LEVELS)[:4]
    )
    print_timing: bool = option(
        False, "log how long each phase of the start took, when a worker first answers", group=Group.TELEMETRY
    )

    def __post_init__(self) -> None:
        if not self.bundles:
            raise ConfigError("BUNDLE: name at least one bundle to serve", option="BUNDLE")
        check_all(self, OPTIONS)
        if self.model_name is not None and len(self.bundles) > 1:
            raise ConfigError(f"--model-name: names one bundle, not {len(self.bundles)}", option="--model-name")
        if self.build_at_start and self.model_name is None:
            raise ConfigError(
                "--build-at-start: a model file has no name; give one with --model-name", option="--build-at-start"
            )
        if self.require_signature:
            self._check_signing()
        if self.caching.shared_cache and not self.caching.size_bytes:
            raise ConfigError("--shared-cache: needs --cache above 0", option="--shared-cache")
        least = MIN_WORKER_BYTES * self.workers
        if 0 < self.caching.size_bytes < least:
            raise ConfigError(
                f"--cache: {self.caching.cache} is too small for {self.workers} workers; give {least} bytes or more, or 0",
                option="--cache",
            )
        if self.engine == ONNX_RUNTIME and not onnx_runtime_is_installed():
            raise ConfigError(f"--engine {ONNX_RUNTIME}: needs `{ONNX_EXTRA}`", option="--engine")
        if self.features is not None and (extra := missing_extra(self.features)) is not None:
            raise ConfigError(f"--features: needs `pip install '{extra}'`", option="--features")
        if self.caching.shared_cache is not None and find_spec("redis") is None:
            raise ConfigError("--shared-cache: needs `pip install 'mlrf[redis]'`", option="--shared-cache")
        check_platform_paths(self.platforms)
        self.access.check()
        self.grpc.check()

    def _check_signing(self) -> None:
        flag = "--require-signature"
        if find_spec("cryptography") is None:
            raise ConfigError(f"{flag}: needs `pip install 'mlrf[signing]'`", option=flag)
        if self.build_at_start:
            raise ConfigError(f"{flag}: what --build-at-start builds is not signed; use one of them", option=flag)

    @property
    def leniency(self) -> Leniency:
        """The leniency that applies unless a request sets another."""
        return Leniency(self.unknown_features, self.unknown_categories, natural=not self.strict)


OPTIONS = tuple(options_of(ServeSettings))
