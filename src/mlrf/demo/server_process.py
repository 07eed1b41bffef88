"""The demo's server: `mlrf serve` as a child process that always ends with the demo."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlrf.core.errors import ConfigError, MlrfError

HOST = "127.0.0.1"

_READY_LIMIT_S = 120.0
_STOP_LIMIT_S = 15.0
_REQUEST_LIMIT_S = 60.0
_LOG_TAIL_BYTES = 2_000


def serve_command(bundle: Path, *, port: int, workers: int) -> list[str]:
    """Return the command that serves `bundle`, as a user would type it."""
    arguments = ["serve", str(bundle), "--host", HOST, "--port", str(port), "--workers", str(workers)]
    # Next to the bundle, so that the demo leaves nothing in the user's own state directory.
    arguments += ["--state-dir", str(bundle.with_name(f"{bundle.name}-state"))]
    return [sys.executable, "-m", "mlrf", *arguments]


def require_free_port(port: int) -> None:
    """Raise ConfigError unless a server could listen on `port`; call it before the long work."""
    if not 1 <= port <= 65_535:  # noqa: PLR2004  the ports there are
        raise ConfigError(f"port must be from 1 to 65535, not {port}")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier run that are still closing do not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"{HOST}:{port} cannot be used ({error.strerror}); stop the program that uses it, or choose another port "
                "with --port",
                port=port,
            ) from error


class Server:
    """A server process for a `with` block; `request` sends a request with a JSON answer."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        self._command = list(command)
        self._port = port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # A separate session: Ctrl-C reaches only this process, which then ends the server in order.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process is not None and self._process.poll() is None

    def request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer; raises MlrfError for any other answer."""
        status, content = self._exchange(method, path, body)
        if status != http.client.OK:
            raise MlrfError(f"{method} {path} was answered with status {status}: {content.decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        self._log.seek(max(0, self._log.seek(0, 2) - _LOG_TAIL_BYTES))
        return self._log.read().decode(errors="replace").strip()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _READY_LIMIT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise MlrfError(
                    f"the server ended with status {process.returncode} before it was ready:\n{self.log_tail()}"
                )
            try:
                status, _ = self._exchange("GET", "/readyz", None)
            except (OSError, http.client.HTTPException):
                status = 0
            if status == http.client.OK:
                return
            time.sleep(0.02)
        raise MlrfError(f"the server was not ready within {_READY_LIMIT_S:.0f} s:\n{self.log_tail()}")

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=_REQUEST_LIMIT_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
