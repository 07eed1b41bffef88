"""Asks for /healthz until its standard input ends, on four kept connections in turn, and prints how long each answer took.

A process of its own, so that what it measures is the server and not the interpreter of whoever makes the load.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

_PAUSE_S = 0.0125
_LIMIT_S = 10.0
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n"


def main(port: int) -> None:
    connections = [socket.create_connection(("127.0.0.1", port), _LIMIT_S) for _ in range(4)]
    print("ready", flush=True)
    waits: list[float] = []
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        connection = connections[len(waits) % len(connections)]
        began = time.perf_counter()
        connection.sendall(_REQUEST)
        answer = connection.recv(65536)
        while answer and not answer.endswith(b"}"):
            answer += connection.recv(65536)
        waits.append(time.perf_counter() - began)
        if not answer.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"the server's health: {answer!r}")
    print(json.dumps(waits))


if __name__ == "__main__":
    main(int(sys.argv[1]))
