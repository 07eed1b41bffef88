"""Options of logs, sampling and traces."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import msgspec

from mlrf.serving.option import Group, at_least, between, option


def _check_folder(folder: Path) -> str | None:
    if not folder.is_dir():
        return f"{folder} is not a directory; create it first"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} is not writable for this user"


def _check_format(name: str) -> str | None:
    if name == "parquet" and find_spec("pyarrow") is None:
        return "Parquet needs pyarrow: pip install 'mlrf[score]'"
    return None


def _check_url(url: str) -> str | None:
    from urllib.parse import urlsplit  # noqa: PLC0415  few servers have such an address

    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        return f"{url!r} is not an http:// or https:// address"
    return None if _is_installed() else "traces need OpenTelemetry: pip install 'mlrf[otel]'"


def _is_installed() -> bool:
    try:
        return all(find_spec(name) for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"))
    except ModuleNotFoundError:
        return False


class TelemetrySettings(msgspec.Struct, frozen=True):
    """Options of logs and traces of single requests, which are off by default."""

    access_log_rate: float = option(
        0.0,
        "share of requests in the access log, 0 to 1",
        group=Group.TELEMETRY,
        metavar="R",
        check=between(0, 1),
    )
    prediction_log: Path | None = option(
        None, "directory for requests and responses of predictions (default: no prediction log)",
        group=Group.TELEMETRY, kind=Path, metavar="DIR", check=_check_folder,
    )  # fmt: skip
    prediction_log_rate: float = option(
        1.0,
        "share of predictions in the prediction log, 0 to 1",
        group=Group.TELEMETRY,
        metavar="R",
        check=between(0, 1),
    )
    prediction_log_file_bytes: int = option(
        64 << 20, "maximum size of a prediction log file in bytes", group=Group.TELEMETRY, check=at_least(1 << 16)
    )
    prediction_log_files: int = option(
        16, "maximum number of prediction log files", group=Group.TELEMETRY, check=between(2, 100_000)
    )
    prediction_log_format: str = option(
        "jsonl",
        "`jsonl`, or `parquet`: JSON lines of which each complete file is replaced by a Parquet file",
        group=Group.TELEMETRY,
        choices=("jsonl", "parquet"),
        check=_check_format,
    )
    prediction_log_features: str = option(
        "keep",
        "`keep` or `omit` the stored features of predictions by key in the prediction log",
        group=Group.TELEMETRY,
        choices=("keep", "omit"),
    )
    otlp_endpoint: str | None = option(
        None, "OpenTelemetry collector to send traces to, e.g. http://HOST:4318 (default: no traces)",
        group=Group.TELEMETRY, kind=str, metavar="URL", check=_check_url,
    )  # fmt: skip
    trace_rate: float = option(
        0.01,
        "share of requests to trace among those without a traceparent header, 0 to 1",
        group=Group.TELEMETRY,
        metavar="R",
        check=between(0, 1),
    )

    @property
    def logs_features(self) -> bool:
        """Whether the prediction log keeps the stored features of predictions by key."""
        return self.prediction_log is not None and self.prediction_log_features == "keep"
