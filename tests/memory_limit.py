"""A limit of memory for a process and its children, by a control group, where this machine permits one."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryLimit:
    """A control group."""

    folder: Path

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs a command within the limit."""
        return ["sh", "-c", f"echo $$ > {self.folder}/cgroup.procs && exec {shlex.join(map(str, command))}"]

    @property
    def peak_bytes(self) -> int:
        """The most memory that its processes used at once, with the files that they read."""
        names = ("memory.max_usage_in_bytes", "memory.peak")
        return next(int((self.folder / name).read_text()) for name in names if (self.folder / name).exists())

    @property
    def anonymous_bytes(self) -> int:
        """The memory that its processes have now, without files."""
        fields = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int(fields.get("total_rss") or fields["anon"])


@contextlib.contextmanager
def memory_limit(limit_bytes: int) -> Iterator[MemoryLimit | None]:
    """A limit, or None where control groups cannot be made; its processes must have ended before."""
    group = (_V1 if _V1.exists() else _V2) / f"mlrf-{os.getpid()}"
    limits = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if _V1.exists() else ("memory.max",)
    try:
        group.mkdir()
        (group / limits[0]).write_text(str(limit_bytes))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield None
        return
    for name in (*limits[1:], "memory.swap.max"):
        if (group / name).exists():
            (group / name).write_text("0" if name == "memory.swap.max" else str(limit_bytes))
    try:
        yield MemoryLimit(group)
    finally:
        group.rmdir()
