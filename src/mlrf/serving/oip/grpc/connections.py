"""The TCP connections of a port, found among this process's file descriptors: grpcio neither lists nor closes its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

_DESCRIPTORS = Path("/proc/self/fd")
_RECEIVED = struct.Struct("Q")
_RECEIVED_OFFSET = 128
"""Of `tcpi_bytes_received` in Linux's `struct tcp_info`."""
_MAPPED_IPV4 = "::ffff:"
_LIBC = ctypes.CDLL(None)
_NO_ADDRESS = struct.pack("H14x", socket.AF_UNSPEC)
"""To connect to it is to disconnect: connect(2)."""


def received_bytes(port: int) -> dict[str, int]:
    """Return how many bytes each open connection of a port has sent, by grpcio's name of the peer; {} but on Linux."""
    return {peer: _received(connection) for peer, connection in _connections(port)}


def close_connections(port: int, peers: Collection[str]) -> int:
    """End the connections of these peers at once; return how many there were. grpcio cancels their calls."""
    n_closed = 0
    for peer, connection in _connections(port):
        if peer in peers:
            n_closed += _abort(connection)
    return n_closed


def _connections(port: int) -> Iterator[tuple[str, socket.socket]]:
    """Yield each connection that the port has accepted, as a duplicate: meanwhile grpcio may close and reuse its number."""
    try:
        numbers = [int(entry.name) for entry in os.scandir(_DESCRIPTORS)]
    except OSError:
        return
    for number in numbers:
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as connection:
                is_tcp = (
                    connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM
                )
                if is_tcp and connection.getsockname()[1] == port:
                    yield _name_of(connection.getpeername()), connection


def _abort(connection: socket.socket) -> bool:
    """Reset a connection. After a mere shutdown the core would still read what the kernel has buffered: some megabytes."""
    return bool(_LIBC.connect(connection.fileno(), _NO_ADDRESS, len(_NO_ADDRESS)) == 0)


def _name_of(address: tuple[str, int]) -> str:
    """Return a peer's address as grpcio's `context.peer()` has it."""
    host, port = address[:2]
    host = host.removeprefix(_MAPPED_IPV4)
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _received(connection: socket.socket) -> int:
    size = _RECEIVED_OFFSET + _RECEIVED.size
    content = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    return int(_RECEIVED.unpack_from(content, _RECEIVED_OFFSET)[0]) if len(content) == size else 0
