"""Row 18: three times as many of the largest bodies as the memory budget allows, and the peak of the workers' memory.

Steady is the peak under a load that already exceeds the budget; a container with 1.2 times that much memory must not be
exceeded, however many more requests come.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from pathlib import Path

from raw_http import Client, request
from scoreboard import Finding, Row
from stage import Stage, staged

_BODY_BYTES = 8 << 20
_FEW, _MANY, _EACH = 80, 240, 2
_SHARE = 1.2


def _peak_bytes(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def _ask(stage: Stage, whole: bytes, found: Counter[str]) -> None:
    for _ in range(_EACH):
        try:
            with Client(stage.server.port) as client:
                client.socket.settimeout(60)
                # The response can be read even if it was refused before all was sent.
                with contextlib.suppress(OSError):
                    client.send(whole)
                found[str(client.answer().status)] += 1
        except (OSError, EOFError) as error:
            found[type(error).__name__] += 1


def _storm(stage: Stage, whole: bytes, clients: int) -> Counter[str]:
    found: Counter[str] = Counter()
    threads = [threading.Thread(target=_ask, args=(stage, whole, found)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def measure(planted: bool) -> Finding:
    """Send a load, measure its peak, send a larger one; with the fault, the first load is a single client."""
    with staged("--request-timeout", "60") as stage:
        body = request("POST", "/predict", stage.bodies[0]).partition(b"\r\n\r\n")[2]
        whole = request("POST", "/predict", body + b" " * (_BODY_BYTES - len(body)))
        workers = stage.server.workers()
        _storm(stage, whole, 1 if planted else _FEW)
        steady = sum(map(_peak_bytes, workers))
        found = _storm(stage, whole, _MANY)
        if stage.server.workers() != workers:
            return Finding("a worker was killed", holds=False)
        share = sum(map(_peak_bytes, workers)) / steady
        # Requests accepted at the end of the load may still be running.
        time.sleep(1.0)
        afterwards = stage.server.ask("POST", "/predict", stage.bodies[0]).status
    figure = f"peak {steady / 1e6:.0f} MB x {share:.2f}, 0 kills, statuses {dict(found)}, then {afterwards}"
    # A client that is still sending when it is refused may see a connection reset instead of its answer.
    allowed = {"200", "413", "503", "ConnectionResetError", "BrokenPipeError"}
    return Finding(figure, share <= _SHARE and set(found) <= allowed and afterwards == 200)


ROW = Row(
    18,
    "a memory limit of 1.2x steady, maximum bodies",
    "0 kills; 413 or 503",
    "steady is the memory for one client",
    measure,
)
