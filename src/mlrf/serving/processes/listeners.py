"""The listening sockets: one SO_REUSEPORT listener per worker slot, all bound before the first fork.

With one shared listener a single worker took every connection; with listeners bound by the workers themselves a killed
worker reset its queued connections (measured, docs/adr/0002). Here a listener belongs to its slot: the kernel spreads
connections over slots, and a replacement worker inherits the queue of the one that died.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec

from mlrf.core.errors import ConfigError


class Listeners(msgspec.Struct, frozen=True):
    """One listening socket per slot, and the lock that prevents a second server on the same address."""

    sockets: list[socket.socket]
    lock: socket.socket | None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that clients connect to."""
        name = self.sockets[0].getsockname()
        return name[0], name[1]

    @property
    def host_and_port(self) -> str:
        """The address as `HOST:PORT`, with IPv6 in brackets."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"http://{self.host_and_port}"


def bind_listeners(host: str, port: int, n_slots: int, backlog: int, options: str = "--") -> Listeners:
    """Bind and listen on one socket per slot; raises ConfigError if the address is in use or not local.

    `options` is what the names of the options for the address begin with.
    """
    family, address = _resolve(host, port, options)
    with ExitStack() as opened:
        try:
            lock = opened.enter_context(_lock(address)) if port else None
            if port:
                _probe(family, address)
            sockets: list[socket.socket] = []
            for _ in range(n_slots):
                listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _listen(listener, address, backlog)
                sockets.append(listener)
                # Port 0 lets the kernel choose once; the other slots join the choice.
                address = listener.getsockname()
        except OSError as error:
            raise _unusable(host, port, error, options) from error
        opened.pop_all()
    return Listeners(sockets, lock)


def spread_listeners(inherited: Sequence[socket.socket], n_slots: int) -> Listeners:
    """Spread the service manager's listeners over the slots; if there are fewer, slots share them, less evenly."""
    sockets = [inherited[slot % len(inherited)].dup() for slot in range(n_slots)]
    return Listeners(sockets, None)


def _resolve(host: str, port: int, options: str = "--") -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        # Python imports its tables of Unicode names to look up any text, but not to look up bytes.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"{options}host: {host!r} is not an address or host name", option=f"{options}host") from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _probe(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Check that the port is free by binding without SO_REUSEPORT; with it, two servers would silently share the port."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def _lock(address: tuple[str, int]) -> socket.socket:
    """Take the address's name among abstract Unix sockets: of two servers that start at once, only one can.

    The kernel releases the name when the last process that inherited the socket ends, however it ends.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0mlrf-serve-{address[0]}-{address[1]}")
    except OSError:
        lock.close()
        raise
    return lock


def _listen(listener: socket.socket, address: tuple[str, int], backlog: int) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setblocking(False)
    listener.bind(address)
    listener.listen(backlog)


def _unusable(host: str, port: int, error: OSError, options: str = "--") -> ConfigError:
    """Return the error of --host or --port, whose names begin with `options`."""
    match error.errno:
        case errno.EADDRINUSE:
            return ConfigError(
                f"{options}port: {host}:{port} is in use; stop the program that uses it, or choose another {options}port",
                port=port,
            )
        case errno.EACCES:
            return ConfigError(
                f"{options}port: this user is not allowed to listen on {host}:{port}; choose a port above 1023",
                port=port,
            )
        case errno.EADDRNOTAVAIL:
            return ConfigError(f"{options}host: {host} is not an address of this machine", host=host)
    return ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", host=host, port=port)
