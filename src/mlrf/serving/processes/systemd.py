"""The systemd protocol: socket activation (listening sockets) and readiness notifications.

Both are plain protocols (sd_listen_fds(3), sd_notify(3)): file descriptors from 3 on, and datagrams to a Unix socket.
"""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING

from mlrf.core.errors import ConfigError

if TYPE_CHECKING:
    import socket

_FIRST_DESCRIPTOR = 3
_SEND_LIMIT_S = 0.2


class Notifier:
    """Notifies the service manager; does nothing without one."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Remove the address from the environment, so that no child and no other code in this process notifies."""
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Notify that the service is ready."""
        self._send("READY=1\nSTATUS=answering")

    def reloading(self) -> None:
        """Notify that settings are being reloaded; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Notify that the service is stopping."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        import socket  # noqa: PLC0415  the start imports it later, while golden rows are replayed

        # A service manager that does not read must not block the service.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_LIMIT_S)
            sender.sendto(text.encode(), self._address)


def inherited_listeners(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets that the service manager opened for this process, if any.

    ConfigError if they are not listening TCP sockets.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    import socket  # noqa: PLC0415  as above

    listeners = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)):
        try:
            listener = socket.socket(fileno=descriptor)
            is_listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} is not a socket", option="LISTEN_FDS") from error
        if not is_listening or listener.family not in (socket.AF_INET, socket.AF_INET6):
            raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} is not a listening TCP socket", option="LISTEN_FDS")
        os.set_inheritable(descriptor, False)
        listener.setblocking(False)
        listeners.append(listener)
    return listeners
