"""The admin listener: a Unix socket that only this user can open, or a port that only this machine can reach.

One listener for all workers: admin requests are too rare to distribute.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from mlrf.core.errors import ConfigError
from mlrf.serving.config.admin_address import UNIX, AdminAddress

_BACKLOG = 64
_OWNER_ONLY = 0o177


class AdminListener:
    """The bound admin socket; `remove` deletes its file."""

    def __init__(self, address: AdminAddress) -> None:
        """Bind and listen; raises ConfigError when the path belongs to another server or is not a socket."""
        self._address = address
        self._file: tuple[int, int] | None = None
        try:
            self.socket = _listen_at(address) if address.path is None else self._listen_on(address.path)
        except OSError as error:
            shown = address.path or f"{address.host}:{address.port}"
            raise ConfigError(f"--admin: cannot listen on {shown}: {error.strerror}", option="--admin") from error

    @property
    def name(self) -> str:
        """The address in the form of `--admin`."""
        if self._address.path is not None:
            return f"{UNIX}{self._address.path}"
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def remove(self) -> None:
        """Close the socket and remove its file, unless another server has replaced it."""
        self.socket.close()
        path = self._address.path
        if path is None or self._file is None:
            return
        with suppress(OSError):
            if _identity(path) == self._file:
                path.unlink()

    def _listen_on(self, path: Path) -> socket.socket:
        check_socket_path(path)
        _check_unused(path)
        temporary = path.with_name(f".{os.getpid()}~")
        with ExitStack() as opened:
            listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.setblocking(False)
            temporary.unlink(missing_ok=True)
            mask = os.umask(_OWNER_ONLY)
            try:
                listener.bind(str(temporary))
            finally:
                os.umask(mask)
            listener.listen(_BACKLOG)
            self._file = _identity(temporary)
            # Renamed into its path only when listening; this also replaces the socket of a killed server atomically.
            temporary.rename(path)
            opened.pop_all()
        return listener


def check_socket_path(path: Path) -> None:
    """Raise ConfigError when something else than a socket is at a path."""
    try:
        found = path.lstat()
    except OSError:  # nothing is there, or binding says what is wrong
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"--admin: {path} exists and is not a Unix socket; choose another path", option="--admin")


def _check_unused(path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
        suppress(ConnectionRefusedError, FileNotFoundError),
    ):
        probe.settimeout(1.0)
        probe.connect(str(path))
        raise ConfigError(f"--admin: another server listens on {path}; choose another path", option="--admin")


def _listen_at(address: AdminAddress) -> socket.socket:
    family, _, _, _, socket_address = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(socket_address)
        listener.listen(_BACKLOG)
        opened.pop_all()
    return listener


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
