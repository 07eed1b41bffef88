"""Row 6: requests with deadlines queued after work that takes longer."""

from __future__ import annotations

import contextlib
import statistics
import time

from raw_http import Answer
from rows.row_05_overload import batch, grown
from running import Server
from scoreboard import Bar, Finding, Row

_ROWS = 400
_DEADLINE_MS = 30
_SHORT_MS = 2
"""Less than the work takes."""
_CLIENTS = 40
_RUNS = 10
"""Work begun in time ends within the deadline plus its own duration; a busy machine may take longer."""
_FORGETS = """
from mlrf.serving.runtime.executor import Executor
start = Executor.start
Executor.start = lambda self, work, route, n_bytes, deadline_s: start(self, work, route, n_bytes, 0.0)
"""


def _in_server_ms(answer: Answer) -> float:
    return float(answer.headers["server-timing"].removeprefix("total;dur="))


def _body(seed: int, deadline_ms: int) -> bytes:
    """Return a request with a deadline. Equal requests share one computation, so each has a seed of its own."""
    return batch(_ROWS, seed, [f"X-Request-Timeout-Ms: {deadline_ms}"])


def _statuses_of_short(server: Server) -> list[int]:
    """Send requests whose work takes longer than they may, one after the other, and return their statuses."""
    statuses = []
    with server.client() as client:
        for seed in range(4):
            client.send(_body(1000 + seed, _SHORT_MS))
            statuses.append(client.answer().status)
            time.sleep(0.1)  # the thread still runs the work, and is to be idle when the next one comes
    return statuses


def _late_when_whole(server: Server, late: bytes) -> tuple[int, float]:
    """Send requests whose bodies are completed after their deadline; return how many were not refused, and how many instances were read."""
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(server.client()) for _ in range(4)]
        for client in clients:
            client.send(late[:-5])
        time.sleep(0.1)
        before = server.metrics()["mlrf_instances_total"]
        for client in clients:
            client.send(late[-5:])
        n_answered = sum(client.answer().status not in (503, 504) for client in clients)
        return n_answered, server.metrics()["mlrf_instances_total"] - before


def _found(rounds: int, late_share: float, broken_by: str = "") -> Finding:
    late = [_body(seed, _DEADLINE_MS) for seed in range(_CLIENTS)]
    with grown(1, "--max-batch", str(_ROWS), broken_by=broken_by) as server, contextlib.ExitStack() as opened:
        with server.client() as alone:
            runs_ms = []
            for seed in range(20):
                alone.send(batch(_ROWS, seed))
                runs_ms.append(_in_server_ms(alone.answer()))
        limit_ms = _DEADLINE_MS + _RUNS * statistics.median(runs_ms)
        clients = [opened.enter_context(server.client()) for _ in range(_CLIENTS)]
        answers = []
        for _ in range(rounds):
            for client, content in zip(clients, late, strict=True):
                client.send(content)
            answers += [client.answer() for client in clients]
        n_answered, n_read = _late_when_whole(server, late[0])
        short = _statuses_of_short(server)
    statuses = [answer.status for answer in answers]
    took_ms = [_in_server_ms(answer) for answer in answers if answer.status == 200]
    return Finding.of(
        Bar("answered although begun late", sum(ms > limit_ms for ms in took_ms), late_share * len(answers)),
        Bar("of", len(answers), 1, at_least=True),
        Bar("answered", len(took_ms), 1, at_least=True),
        Bar("504 to work longer than its deadline", short.count(504), len(short), at_least=True),
        Bar("neither 200, 503 nor 504", sum(status not in (200, 503, 504) for status in statuses), 0),
        Bar("requests completed too late, answered", n_answered, 0),
        Bar("instances of them that were read", n_read, 0),
    )


def measure(planted: bool) -> Finding:
    """Queue more than can be done in time; with the fault, the worker thread ignores deadlines."""
    return _found(2, 0, _FORGETS) if planted else _found(25, 0)


def brief(planted: bool) -> Finding:
    """Do the same up to twice, on a machine that may delay a run."""
    return _found(2, 0.05, _FORGETS if planted else "")


ROW = Row(
    6,
    "expired deadlines",
    "no inference starts late",
    "the worker thread ignores deadlines",
    measure,
    brief,
)
