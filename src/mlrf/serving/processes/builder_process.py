"""Runs the builder of `--build-at-start` with limits: time, memory, and how much of what it writes to stderr is kept.

What it started ends with it: the builder leads a process group, which is killed when the builder ends, is too slow, or the
server gives up. If the server is killed, the builder ends too.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, NamedTuple, cast

from mlrf.core.parent_death import die_with_parent

_KEPT_BYTES = 1 << 16
_LOOK_S = 0.2
"""How often it is looked at: a process that keeps the stderr of an ended builder open hides that it ended."""


class BuilderEnd(NamedTuple):
    """How the builder ended: its exit status, negative for a signal, and the end of what it wrote to stderr."""

    status: int
    stderr: str


def run_builder(
    command: Sequence[str], environment: Mapping[str, str], *, limit_s: float, most_bytes: int
) -> BuilderEnd:
    """Run a command to its end; TimeoutError when it takes longer. Call it from the main thread."""
    arbiter = os.getpid()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        process_group=0,
        preexec_fn=lambda: die_with_parent(arbiter),  # noqa: PLW1509  the arbiter has no other thread
    ) as child:
        try:
            resource.prlimit(child.pid, resource.RLIMIT_AS, (most_bytes, most_bytes))
            stderr = _read_to_the_end(child, limit_s)
        finally:
            # Before it is waited for, while its number cannot be another process's.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return BuilderEnd(child.returncode, stderr.decode(errors="replace"))


def _read_to_the_end(child: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """Return the end of what a child writes to stderr until it ends; TimeoutError after the limit."""
    stderr = cast("IO[bytes]", child.stderr).fileno()
    os.set_blocking(stderr, False)
    ends_s, kept, is_open = time.monotonic() + limit_s, b"", True
    while True:
        has_ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        if is_open and select.select([stderr], [], [], 0 if has_ended else _LOOK_S)[0]:
            chunk = os.read(stderr, _KEPT_BYTES)
            is_open = chunk != b""
            kept = (kept + chunk)[-_KEPT_BYTES:]
        elif has_ended:
            return kept
        elif not is_open:
            time.sleep(_LOOK_S)
        if time.monotonic() > ends_s:
            raise TimeoutError
