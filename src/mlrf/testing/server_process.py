"""Runs `mlrf serve` as a child process on a free port of this machine, for the duration of a `with` block."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlrf.client import Client
from mlrf.core.errors import MlrfError

_POLL_S = 0.02
_STOP_LIMIT_S = 15.0


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    url: str
    pid: int
    ca_file: str | None = None
    clients: list[Client] = field(default_factory=list, repr=False, compare=False)
    """The clients that it made, which are closed when it ends."""

    def client(self, **options: Any) -> Client:
        """Return a client of the server, which is closed at the latest when the server ends; options as of `Client`."""
        made = Client(self.url, **{"ca_file": self.ca_file, **options})
        self.clients.append(made)
        return made


@contextlib.contextmanager
def serving(
    *bundles: str | os.PathLike[str], options: Sequence[str] = (), ca_file: str | None = None, limit_s: float = 120.0
) -> Iterator[RunningServer]:
    """Serve bundles or model repositories with one worker while the block runs.

    `options`: further options of `mlrf serve`, such as ("--workers", "2"). `ca_file`: the certificate to trust if they turn on
    TLS. MlrfError with the server's log if it is not ready within `limit_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="mlrf-testing-") as folder, tempfile.TemporaryFile() as log:
        given = list(options)
        for name, value in (("--port", "0"), ("--workers", "1"), ("--state-dir", folder)):
            if name not in options:
                given += [name, value]
        command = [
            sys.executable,
            "-m",
            "mlrf",
            "serve",
            *(os.fspath(each) for each in bundles),
            "--host",
            "127.0.0.1",
            *given,
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            server = RunningServer(_url(process, log, limit_s), process.pid, ca_file)
            _wait_until_ready(server, process, log, limit_s)
            try:
                yield server
            finally:
                for each in server.clients:
                    each.close()
        finally:
            process.terminate()
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _url(process: subprocess.Popen[bytes], log: Any, limit_s: float) -> str:
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s and process.poll() is None:
        for line in _lines(log):
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == "listening":
                    return str(entry["url"])
        time.sleep(_POLL_S)
    raise _not_ready(process, log, limit_s)


def _wait_until_ready(server: RunningServer, process: subprocess.Popen[bytes], log: Any, limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    with server.client(timeout_s=1.0, retries=0) as client:
        while time.monotonic() < deadline_s and process.poll() is None:
            with contextlib.suppress(MlrfError):
                if client.is_ready():
                    return
            time.sleep(_POLL_S)
    raise _not_ready(process, log, limit_s)


def _lines(log: Any) -> list[bytes]:
    content: bytes = os.pread(log.fileno(), 1 << 20, 0)
    return content.splitlines()


def _not_ready(process: subprocess.Popen[bytes], log: Any, limit_s: float) -> MlrfError:
    said = b"\n".join(_lines(log)[-5:]).decode(errors="replace")
    ended = process.poll()
    what = f"was not ready within {limit_s:g} s" if ended is None else f"ended with exit code {ended}"
    return MlrfError(f"mlrf serve {what}:\n{said}")
