"""How much memory a job takes, estimated before it starts, and how many workers fit into what is available."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlrf.core.errors import ConfigError
from mlrf.scoring.parts import BLOCK_BYTES

_PROCESS_BYTES = 220 << 20
"""Of Python, NumPy and pyarrow, and what they keep for reuse. Measured for tables of 4 columns: 200 MB with one worker."""
_VALUE_BYTES = 8
_COPIES = 2
"""Copies of a batch's values at the same time: as they were read and as float64, as arrays and encoded."""
_MB = 1 << 20


def estimated_bytes(
    workers: int, *, batch_rows: int, n_columns: int, n_features: int, n_answers: int, open_bytes: int
) -> int:
    """Return an estimate of the largest memory of a job: more than it takes, for tables of numbers.

    `n_columns` are read, `n_answers` numbers are computed for a row; `open_bytes` is taken by reading one input.
    """
    values = _COPIES * (n_columns + n_features + n_answers)
    worker = batch_rows * values * _VALUE_BYTES + open_bytes
    waiting = 2 * BLOCK_BYTES
    return _PROCESS_BYTES + workers * worker + waiting


def fitting_workers(workers: int, estimate: Callable[[int], int], limit_bytes: int | None) -> int:
    """Return how many workers fit into a limit and into what is available; ConfigError if not even one fits into the limit."""
    least = estimate(1)
    if limit_bytes is not None and least > limit_bytes:
        raise ConfigError(
            f"scoring takes about {least // _MB} MB with one worker, more than the limit of {limit_bytes // _MB} MB; write the "
            "files again with smaller row groups, or allow more memory"
        )
    free = available_bytes() if limit_bytes is None else min(limit_bytes, available_bytes())
    return max(1, min(workers, 1 + (free - least) // (estimate(2) - least)))


def available_bytes() -> int:
    """Return the memory that this process can still take: of the machine, or of its control group if that is less."""
    found = _of_machine()
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            found = min(found, int(most) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return found


def _of_machine() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) << 10
    return 1 << 62
