"""Requests /healthz until its standard input ends, and prints the seconds that each answer took, including the connect.

Every other request opens a new connection: a server may be fast on keep-alive connections and let new ones wait. The others
use four keep-alive connections in turn, or are left out (`--new`). A response other than 200 counts as ten seconds, and so do a wait
of ten seconds and a lost connection. This is a separate process, so that it measures the server and not the interpreter of the load.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time

_PAUSE_S = 0.0125
LIMIT_S = 10.0
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n"


def connected(port: int, tls: ssl.SSLContext | None = None) -> socket.socket:
    """Return a new connection."""
    plain = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    return plain if tls is None else tls.wrap_socket(plain)


def _ask(connection: socket.socket) -> bool:
    connection.sendall(_REQUEST)
    answer = connection.recv(65536)
    while answer and not answer.endswith(b"}"):
        more = connection.recv(65536)
        if not more:
            return False
        answer += more
    return answer.startswith(b"HTTP/1.1 200 ")


def _seconds(began: float, answered: bool) -> float:
    return time.perf_counter() - began if answered else LIMIT_S


def ask_anew(port: int, tls: ssl.SSLContext | None) -> float:
    """Return the seconds until a new connection has its answer; the time limit if there is none."""
    began = time.perf_counter()
    try:
        with connected(port, tls) as connection:
            return _seconds(began, _ask(connection))
    except OSError:
        return LIMIT_S


class KeptConnection:
    """A keep-alive connection, opened when it is first used and again after it was lost."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        self._port, self._tls = port, tls
        self._socket: socket.socket | None = None

    def ask(self) -> float:
        """Return the seconds until the answer; the time limit if there is none."""
        began = time.perf_counter()
        try:
            if self._socket is None:
                self._socket = connected(self._port, self._tls)
                began = time.perf_counter()
            answered = _ask(self._socket)
        except OSError:
            answered = False
        if not answered and self._socket is not None:
            # Its answer may still come, and would be read as the next one's.
            self._socket.close()
            self._socket = None
        return _seconds(began, answered)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main(port: int, tls: ssl.SSLContext | None, n_kept: int) -> None:
    kept = [KeptConnection(port, tls) for _ in range(n_kept)]
    print("ready", flush=True)
    seconds: dict[str, list[float]] = {"kept": [], "new": []}
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        if kept and len(seconds["kept"]) < len(seconds["new"]):
            seconds["kept"].append(kept[len(seconds["kept"]) % len(kept)].ask())
        else:
            seconds["new"].append(ask_anew(port, tls))
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(int(sys.argv[1]), _context() if "--tls" in sys.argv else None, 0 if "--new" in sys.argv else 4)
