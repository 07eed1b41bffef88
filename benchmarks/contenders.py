"""The servers that are compared: how each is started, checked for readiness, and ended. Each is a separate process tree."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import processes

HOST = "127.0.0.1"
PEERS = Path(__file__).parent / "peers"
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 20.0
_LOG_TAIL_CHARS = 2_000


class BenchmarkError(Exception):
    """A benchmark could not be run, or a server gave a wrong answer; the message says which."""


@dataclass(frozen=True)
class Contender:
    """A server that answers `POST /predict` and `/predict/batch` for a bundle."""

    name: str
    options: tuple[str, ...] = ()
    is_peer: bool = False

    def command(self, bundle: Path, port: int, workers: int) -> list[str]:
        """Return the command that starts it: for mlrf what an operator would type, with defaults for everything else."""
        if self.is_peer:
            app = ["fastapi_onnxruntime:app", "--app-dir", str(PEERS), "--loop", "uvloop", "--http", "httptools"]
            listen = ["--host", HOST, "--port", str(port), "--workers", str(workers)]
            return [sys.executable, "-m", "uvicorn", *app, *listen, "--no-access-log", "--log-level", "warning"]
        listen = ["--host", HOST, "--port", str(port), "--workers", str(workers)]
        return [sys.executable, "-m", "mlrf", "serve", str(bundle), *listen, *self.options]


PEER = Contender("fastapi", is_peer=True)
MLRF = Contender("mlrf")


def mlrf_contenders() -> list[Contender]:
    """Return mlrf with its default engine, and with ONNX Runtime if that is not the default."""
    # In a separate process: the runner must not share pages with the servers.
    program = "from mlrf.engines.selection import ENGINES; print(*ENGINES)"
    engines = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    return [MLRF] if len(engines) == 1 else [MLRF, Contender("mlrf+onnxruntime", ("--engine", "onnxruntime"))]


@dataclass(frozen=True)
class Running:
    """A running server."""

    contender: Contender
    pid: int
    port: int

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http://{HOST}:{self.port}{path}"

    def ask(self, path: str, body: bytes) -> tuple[int, Any]:
        """POST a body; return the status and the decoded answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())


@contextlib.contextmanager
def serving(contender: Contender, bundle: Path, *, workers: int = 1) -> Iterator[Running]:
    """Start a server, wait until it answers, and end it in any case."""
    with started(contender, bundle, workers=workers) as running:
        wait_until_open(running)
        yield running


@contextlib.contextmanager
def started(contender: Contender, bundle: Path, *, workers: int) -> Iterator[Running]:
    """Start a server and end it, without waiting for it."""
    port = free_port()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            contender.command(bundle, port, workers),
            env=_environment(bundle),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Running(contender, process.pid, port)
            if process.poll() is not None:
                raise BenchmarkError(f"{contender.name} ended with status {process.returncode}")
        except Exception as error:
            log.seek(0)
            error.add_note(f"{contender.name} wrote: {log.read()[-_LOG_TAIL_CHARS:].strip() or 'nothing'}")
            raise
        finally:
            children = processes.tree(process.pid)[1:]
            process.terminate()
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:  # some servers leave theirs behind
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)


def _environment(bundle: Path) -> dict[str, str]:
    """The variables of a server. Files are compiled as pip compiles them, whatever this process does."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"MODEL_BUNDLE": str(bundle)}


def wait_until_open(running: Running) -> None:
    """Return once the server accepts connections; BenchmarkError when it ends or takes too long."""
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, running.port), 1.0):
            return
        if has_ended(running):
            break
        time.sleep(0.01)
    raise BenchmarkError(f"{running.contender.name} does not accept connections")


def has_ended(running: Running) -> bool:
    """Whether the server's process has ended."""
    return not Path(f"/proc/{running.pid}/smaps_rollup").exists() or _is_zombie(running.pid)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
