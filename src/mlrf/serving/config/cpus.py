"""Counts the processors that this process may use: those that the scheduler allows, or the cgroup's quota if that is less.

Without the quota, a container with two of a host's 64 processors would get 64 workers, which would mostly be throttled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the number of processors in the affinity mask, at most the cgroup's quota rounded down, and at least 1.

    A quota of 2.5 counts as 2, because the quota would stop a third worker's requests midway (for up to 0.1 s at a time).
    `root` is the directory with proc and sys.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _quota(root: Path) -> float | None:
    """Return the lowest quota, in processors, of this process's cgroup and its ancestors; None if there is none."""
    try:
        memberships = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in memberships:
        _, _, membership = line.partition(":")
        controllers, colon, path = membership.partition(":")
        if not colon:
            continue
        if not controllers:
            quotas += _quotas_v2(root / "sys/fs/cgroup", path)
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                quotas += _quotas_v1(root / "sys/fs/cgroup" / mount, path)
    return min(quotas, default=None)


def _quotas_v2(mount: Path, path: str) -> Iterator[float]:
    for folder in _upwards(mount, path):
        allowance, _, period = _read(folder / "cpu.max").partition(" ")
        if allowance.isdigit() and period.isdigit():
            yield int(allowance) / int(period)


def _quotas_v1(mount: Path, path: str) -> Iterator[float]:
    for folder in _upwards(mount, path):
        allowance, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if allowance.isdigit() and period.isdigit():
            yield int(allowance) / int(period)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield the cgroup's folder and its ancestors'; a container may see only its own, as the mount itself."""
    folder = mount / path.lstrip("/")
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
