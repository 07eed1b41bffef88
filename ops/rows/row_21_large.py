"""Row 21: bodies of 100 MiB, of a million chunks, and gzip of a thousand to one."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from collections import Counter
from pathlib import Path

from bundles import write_bundle
from raw_http import request
from running import Server, resident_bytes, serving
from scoreboard import Bar, Finding, Row

_MIB = 1 << 20
_GROWTH_MIB = 64
"""Each of two workers may keep the memory of one body of the largest size (8 MiB) and its inflated form; a body sent here is larger."""


def _refused(server: Server, head: bytes, parts: list[bytes]) -> str:
    """Send until the server stops reading, and return its answer."""
    with server.client() as client:
        with contextlib.suppress(OSError):
            client.send(head)
            for part in parts:
                client.send(part)
        try:
            return str(client.answer().status)
        except (OSError, EOFError) as error:
            # A client that is refused while it is sending may see a connection reset instead of its answer.
            return type(error).__name__


def _found(rounds: int, *options: str) -> Finding:
    outcomes: Counter[str] = Counter()
    honest = gzip.compress(bytes(64 * _MIB), 9)
    lying = honest[:-4] + b"\0\1\0\0"
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        with serving(path, workers=2, options=list(options)) as server:
            server.booted(2)
            before = sum(map(resident_bytes, server.workers()))
            for _ in range(rounds):
                long = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (100 * _MIB)
                outcomes[_refused(server, long, [bytes(_MIB)] * 100)] += 1
                chunks = request("POST", "/predict", b"", ["Transfer-Encoding: chunked"])
                outcomes[_refused(server, chunks, [b"1\r\n \r\n" * 100_000] * 10)] += 1
                for bomb in (honest, lying):
                    outcomes[str(server.ask("POST", "/predict", bomb, ["Content-Encoding: gzip"]).status)] += 1
            grown = sum(map(resident_bytes, server.workers())) - before
            troubles = len(server.troubles)
    others = sum(n for what, n in outcomes.items() if not what.startswith("4") and "Error" not in what)
    return Finding.of(
        Bar("growth MiB", grown / _MIB, _GROWTH_MIB),
        Bar("answers other than 4xx", others, 0),
        Bar("4xx", sum(n for what, n in outcomes.items() if what.startswith("4")), 3 * rounds, at_least=True),
        Bar("unexpected log events", troubles, 0),
    )


def measure(planted: bool) -> Finding:
    """Send each body; with the fault, the limit on bodies is above their size."""
    return _found(2, "--max-body-bytes", str(256 * _MIB)) if planted else _found(5)


def brief(planted: bool) -> Finding:
    """Send each body fewer times."""
    return _found(1, "--max-body-bytes", str(256 * _MIB)) if planted else _found(2)


ROW = Row(
    21,
    "100 MiB body, 10^6 chunks, gzip 1000:1",
    f"4xx; no growth (at most {_GROWTH_MIB} MiB, the memory of one body)",
    "--max-body-bytes of 256 MiB",
    measure,
    brief,
)
