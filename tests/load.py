"""A load of keep-alive clients that checks the answer of every request."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Self

from bundles import ALL_KINDS, margins_of
from raw_http import Client, request
from running import Server

BODY = {"features": ALL_KINDS.example()}
PREDICTION = margins_of(ALL_KINDS.row(ALL_KINDS.example()))[0]


@dataclass
class Counts:
    """The results of a load."""

    answered: int = 0
    refused_connections: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Requests on a connection that ended without an answer and without `Connection: close` before."""


class Load:
    """`n` clients, each with one connection and one request at a time, until stopped."""

    def __init__(
        self, server: Server, n: int, pause_s: float = 0.005, *, content: object = BODY, expected: float = PREDICTION
    ) -> None:
        self.counts = Counts()
        self._content, self._expected = content, expected
        self._server = server
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(n)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def stop_asking(self) -> Counts:
        """End the load and return its results."""
        self.__exit__()
        return self.counts

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                client = Client(self._server.port)
            except OSError:
                with self._lock:
                    self.counts.refused_connections += 1
                self._stop.wait(0.02)
                continue
            with client:
                self._ask_on(client)

    def _ask_on(self, client: Client) -> None:
        content = request("POST", "/predict", self._content)
        n_answers = 0
        while not self._stop.is_set():
            try:
                client.send(content)
                answer = client.answer()
            except (OSError, EOFError) as error:
                with self._lock:
                    self.counts.lost.append(f"{type(error).__name__} after {n_answers} answers")
                return
            n_answers += 1
            with self._lock:
                if answer.status != 200 or answer.json["prediction"] != self._expected:
                    self.counts.wrong.append(f"{answer.status} {answer.body[:100]!r}")
                self.counts.answered += 1
            if answer.headers.get("connection") == "close":
                return
            time.sleep(self._pause_s)
