"""Row 10: one client in five disconnects before its answer; the others get the answer to their own row, with their own id."""

from __future__ import annotations

import json
import random
import socket
import struct
import tempfile
from pathlib import Path

from bundles import ALL_KINDS, margins_of, write_bundle
from raw_http import Client, request
from running import serving
from scoreboard import Bar, Finding, Row

_EXAMPLE = ALL_KINDS.example()
_PRICES = (0.0, 1.0, 2.0)
_CLIENTS = 8
_MIXES = """
from mlrf.serving.cache.cache_partition import CachePartition
find, last = CachePartition.find, [None]
def mixed(self, make, body):
    said, last[0] = last[0], find(self, make, body)
    return last[0] if said is None else said
CachePartition.find = mixed
"""
"""A server that gives each request the answer of the previous one."""


def _found(n: int, broken_by: str = "") -> Finding:
    chance = random.Random(5)
    right = [margins_of(ALL_KINDS.row(_EXAMPLE | {"price": price}))[0] for price in _PRICES]
    bodies = [json.dumps({"features": _EXAMPLE | {"price": price}}).encode() for price in _PRICES]
    wrong = n_left = 0
    clients: dict[int, Client] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        with serving(path, workers=2, broken_by=broken_by) as server:
            pids = server.booted(2)
            for number in range(n):
                slot, which = number % _CLIENTS, chance.randrange(len(_PRICES))
                client = clients.get(slot) or server.client()
                clients[slot] = client
                client.send(request("POST", "/predict", bodies[which], [f"X-Request-ID: {number}"]))
                if chance.random() < 0.2:
                    if chance.random() < 0.5:
                        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    clients.pop(slot).socket.close()
                    n_left += 1
                    continue
                answer = client.answer()
                wrong += answer.headers["x-request-id"] != str(number) or answer.json.get("prediction") != right[which]
            for client in clients.values():
                client.socket.close()
            died = len(set(pids) - set(server.workers()))
            troubles = len(server.troubles)
    return Finding.of(
        Bar("answers of another request", wrong, 0),
        Bar("of", n, 1, at_least=True),
        Bar("cancelled", n_left, n / 6, at_least=True),
        Bar("workers that died", died, 0),
        Bar("unexpected log events", troubles, 0),
    )


def measure(planted: bool) -> Finding:
    """Send requests and disconnect; with the fault, each request gets the answer of the previous one."""
    return _found(2_000, _MIXES) if planted else _found(100_000)


def brief(planted: bool) -> Finding:
    """Do the same with fewer requests."""
    return _found(1_000, _MIXES if planted else "")


ROW = Row(
    10,
    "100,000 requests, 20 % cancelled by the client",
    "0 answers that belong to another request",
    "each request gets the answer of the previous one",
    measure,
    brief,
)
