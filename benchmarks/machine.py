"""The machine and the versions that a figure depends on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from wrk import require_wrk

LIBRARIES = (
    "mlrf",
    "gunicorn",
    "uvloop",
    "msgspec",
    "grpcio",
    "protobuf",
    "onnxruntime",
    "numpy",
    "lightgbm",
    "fastapi",
    "uvicorn",
    "pydantic",
)


def describe() -> dict[str, str]:
    """Return machine and versions as printed above every table."""
    return {
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} processors, {_memory_gb():.0f} GB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "wrk": _wrk_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _wrk_version() -> str:
    result = subprocess.run([require_wrk(), "--version"], check=False, capture_output=True, text=True)
    return " ".join((result.stdout + result.stderr).split("\n", 1)[0].split()[1:2])
