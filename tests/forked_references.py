"""Reference processes that are forked from one in which the training library is already imported.

A build computes its golden predictions in a process of its own, which imports the training library: half a second of processor time for
LightGBM, one and a half for scikit-learn, and most of what a test of a small model takes. Here that import happens once per library and
test process; each build still has a process of its own, which runs the real `reference_process.main` on the real files.

`tests/unit/builder/parity` and every command that runs as a process start reference processes as users do.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import pytest

from mlrf.builder.parity import reference_runner

_SERVER = Path(__file__).with_name("reference_server.py")
_MODULE = "mlrf.builder.parity.reference_process"
_NAMES = ("PYTHON", "LD_", "OMP_", "MLRF_", "PATH")
"""Beginnings of the variables that decide what a new process imports and does."""


class ReferenceServer:
    """A process that has imported a `reference` module, and forks for each request."""

    def __init__(self, module: str, unused: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, _SERVER, module, unused], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

        atexit.register(self.close)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def run(self, arguments: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run `reference_process.main` with these arguments in a fork; return its exit status and its standard error."""
        with tempfile.NamedTemporaryFile("r", errors="replace") as stderr:
            request = {"arguments": list(arguments), "stderr": stderr.name, "folder": os.getcwd()}
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            pid = self._number(None)
            try:
                status = self._number(timeout_s)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._number(None)
                raise TimeoutExpired(list(arguments), timeout_s) from None
            return status, stderr.read()

    def _number(self, timeout_s: float | None) -> int:
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            raise TimeoutError
        return int(self._process.stdout.readline())


_servers: dict[tuple[str, str], ReferenceServer] = {}
_environment: dict[str, str] = {}


def _current_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_NAMES)}


class _ForkingSubprocess:
    """What `reference_runner` uses of `subprocess`."""

    TimeoutExpired = TimeoutExpired

    @staticmethod
    def run(command: Sequence[str], *, timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a reference process in a fork, or as usual if a test has changed the environment that a new process would have."""
        if not _environment:
            _environment.update(_current_environment())
        if _environment != _current_environment() or list(command[1:3]) != ["-m", _MODULE]:
            return subprocess.run(command, timeout=timeout, **options)  # noqa: PLW1510  among the options
        module, folder, threads, _, unused = command[3:]
        server = _servers.get((module, unused)) or _servers.setdefault(
            (module, unused), ReferenceServer(module, unused)
        )
        status, stderr = server.run([module, folder, threads, "PARENT", unused], timeout)
        return subprocess.CompletedProcess(command, status, "", stderr)


@pytest.fixture(scope="module", autouse=True)
def forked_references() -> Iterator[None]:
    """Builds of a module's tests fork their reference processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_runner, "subprocess", _ForkingSubprocess)
        yield
