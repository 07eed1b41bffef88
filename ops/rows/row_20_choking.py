"""Row 20: bodies that are hard on parsers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bundles import ALL_KINDS, write_bundle
from raw_http import Answer, request
from running import Server, cpu_ns, serving
from scoreboard import Bar, Finding, Row

_EXAMPLE = ALL_KINDS.example()
_ROUTES = ("/predict", "/predict/batch", "/explain")
_COUNTS_NOTHING = """
import json
from mlrf.serving.native import json_scanner
json_scanner.values_at_most = lambda raw: json.loads(bytes(raw)) and 0
"""


def _with(name: str, instead: bytes) -> bytes:
    """Return a body whose value of a feature is these bytes."""
    return json.dumps({"features": _EXAMPLE | {name: 7777}}).encode().replace(b"7777", instead)


CHOKING = {
    "depth of 10^6": b'{"features":' + b"[" * 1_000_000,
    "depth of 10^6, closed": b"[" * 1_000_000 + b"]" * 1_000_000,
    "objects to a depth of 10^6": b'{"a":' * 1_000_000,
    "a number of 10^6 digits": b'{"features": {"price": ' + b"9" * 1_000_000 + b"}}",
    "a fraction of 10^6 digits": b'{"features": {"price": 0.' + b"1" * 1_000_000 + b"}}",
    "1e999": _with("price", b"1e999"),
    "-1e999": _with("price", b"-1e999"),
    "NaN": _with("price", b"NaN"),
    "Infinity": _with("price", b"Infinity"),
    "a lone surrogate": _with("store", b'"\\ud800"'),
    "a lone surrogate in a name": _with("zzz", b"1").replace(b"zzz", b"\\udc00"),
    "a surrogate as UTF-8": _with("store", b'"\xed\xa0\x80"'),
    "a megabyte of commas": b'{"features": [' + b"," * 1_000_000 + b"]}",
    "a million empty objects": b'{"instances": [' + b"{}," * 1_000_000 + b"{}]}",
}


def _spent_ms(server: Server, route: str, body: bytes) -> tuple[float, Answer]:
    before = sum(map(cpu_ns, server.workers()))
    with server.client() as client:
        client.send(request("POST", route, body))
        answer = client.answer()
    return (sum(map(cpu_ns, server.workers())) - before) / 1e6, answer


def _found(rounds: int, limit_ms: float, broken_by: str = "") -> Finding:
    worst_ms, answers = 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        with serving(path, workers=2, broken_by=broken_by) as server:
            server.booted(2)
            for route in _ROUTES:
                for body in CHOKING.values():
                    # The least of several: interruptions by other processes are not work of the server.
                    tried = [_spent_ms(server, route, body) for _ in range(rounds)]
                    worst_ms = max(worst_ms, min(ms for ms, _ in tried))
                    answers += [answer for _, answer in tried]
            troubles = len(server.troubles)
    # Refuse NaN, which Python's `json` would accept.
    explained = sum(bool(answer.json["error"]) for answer in answers if answer.status // 100 == 4)
    return Finding.of(
        Bar("worst processor time of a refusal, ms", worst_ms, limit_ms),
        Bar("not 4xx with a reason in JSON", len(answers) - explained, 0),
        Bar("of", len(answers), 1, at_least=True),
        Bar("unexpected log events", troubles, 0),
    )


def measure(planted: bool) -> Finding:
    """Send each body to each route; with the fault, the values of a body are counted by parsing it into objects."""
    return _found(5, 50, _COUNTS_NOTHING if planted else "")


def brief(planted: bool) -> Finding:
    """Send each body twice."""
    return _found(2, 100, _COUNTS_NOTHING if planted else "")


ROW = Row(
    20,
    "JSON depth 10^6, 10^6-digit numbers, 1e999, NaN, lone surrogates",
    "4xx in < 50 ms of processor time; never a NaN token in an answer",
    "the values of a body are counted by parsing it into objects",
    measure,
    brief,
)
