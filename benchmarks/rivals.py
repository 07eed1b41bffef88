"""`make rivals`: mlrf beside other servers and other engines, each in an environment of its own, in one run.

    python benchmarks/rivals.py [--only servers|engines|RIVAL]... [--rounds N] [--seconds S] [--write]

Needs wrk, gcc and g++. The first run makes the environments and compiles models (half an hour); they stay under
results/rivals/. `--only` takes a table or a rival, whose spaces may be dashes; mlrf is always measured.
With --write, the tables that were measured whole replace those of docs/explanation/rivals.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import machine
import rival_engines
import steady_rate
from contenders import BenchmarkError, Running, has_ended, started, wait_until_open
from plan import Plan, make_models
from processes import live_cpu_seconds, pss_bytes
from rival_environments import RESULTS
from rival_servers import SERVERS, Server, bodies_of, prepare
from wrk import drive

PAGE = Path(__file__).parents[1] / "docs/explanation/rivals.md"
ROW_CONNECTIONS, BATCH_CONNECTIONS, SECONDS = 32, 8, 4
_READY_S = 120.0
_TOLERANCE = 1e-6
_BEHIND_MS = 1_000
"""A server whose median latency is more does not sustain the rate: its queue grows."""
COLUMNS = (
    "one row, req/cpu-s",
    "batch of 100, req/cpu-s",
    "p50 / p99 at 1,000 rows/s, ms",
    "cold start, ms",
    "memory, MB",
    "user's code, lines",
)

Found = dict[str, dict[str, list[float]]]


def measure_servers(plan: Plan, names: Sequence[str] = tuple(SERVERS)) -> tuple[Found, dict[str, str]]:
    """Measure servers `plan.rounds` times by turns; return the figures, and why a server is missing."""
    found: Found = defaultdict(lambda: defaultdict(list))
    missing: dict[str, str] = {}
    began = time.perf_counter()
    for number in range(plan.rounds):
        for index, name in enumerate(names):
            if name in missing:
                continue
            server, done = SERVERS[name], number * len(names) + index
            left_s = (time.perf_counter() - began) / done * (plan.rounds * len(names) - done) if done else 0.0
            plan.say(f"round {number + 1} of {plan.rounds}: {name}" + (f" ({left_s:.0f} s left)" if done else ""))
            try:
                if not number:
                    prepare(server, plan.bundle("regression"))
                for what, value in _measure_server(server, plan):
                    found[name][what].append(value)
            except (BenchmarkError, OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError) as error:
                found.pop(name, None)
                missing[name] = " ".join((str(error), *getattr(error, "__notes__", ())))
    return found, missing


def _measure_server(server: Server, plan: Plan) -> Iterator[tuple[str, float]]:
    home, bundle = plan.home("regression"), plan.bundle("regression")
    rows = bodies_of(server, plan.bodies("regression", "positional"))
    batches = bodies_of(server, plan.bodies("regression", "batch"))
    right = [json.loads(line) for line in (home / "expected.jsonl").read_text().splitlines()]
    began = time.perf_counter()
    with started(server, bundle, workers=1) as running:  # type: ignore[arg-type]  what it needs of a Contender
        _first_answer(server, running, rows, right)
        yield "cold", 1e3 * (time.perf_counter() - began)
        yield "cold cpu", 1e3 * live_cpu_seconds(running.pid)
        wait_until_open(running)
        _check(server, running, rows, batches, right)
        for path, bodies, connections, what in (
            (server.row_path, rows, ROW_CONNECTIONS, "row"),
            (server.batch_path, batches, BATCH_CONNECTIONS, "batch"),
        ):
            drive(running, path, bodies, connections=connections, seconds=1)
            load = drive(running, path, bodies, connections=connections, seconds=plan.seconds)
            yield what, load.per_cpu_s
            if what == "row":
                yield "memory", load.pss_mb
        with steady_rate.driving(
            running.port, rows, steady_rate.RATE, steady_rate.CONNECTIONS, plan.seconds, server.row_path
        ) as driver:
            try:
                report = steady_rate.report_of(driver)
            except (BenchmarkError, subprocess.TimeoutExpired):  # not all were answered: it does not sustain the rate
                report = {"p50_ms": math.inf, "p99_ms": math.inf}
        if report["p50_ms"] > _BEHIND_MS:
            report = {"p50_ms": math.inf, "p99_ms": math.inf}
        yield "p50", report["p50_ms"]
        yield "p99", report["p99_ms"]
        yield "memory after", pss_bytes(running.pid) / 1e6


def _first_answer(server: Server, running: Running, rows: Path, right: list[float]) -> None:
    body = rows.read_bytes().split(b"\n", 1)[0]
    deadline = time.perf_counter() + _READY_S
    while time.perf_counter() < deadline and not has_ended(running):
        with contextlib.suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
            status, answer = running.ask(server.row_path, body)
            if status == 200:
                _same(server, [right[0]], server.read(answer))
                return
        time.sleep(0.001)
    raise BenchmarkError(f"{server.name} ended, or did not answer within {_READY_S:g} s")


def _check(server: Server, running: Running, rows: Path, batches: Path, right: list[float]) -> None:
    for body, value in zip(rows.read_bytes().splitlines()[:20], right, strict=False):
        _same(server, [value], server.read(running.ask(server.row_path, body)[1]))
    _same(server, right[:100], server.read(running.ask(server.batch_path, batches.read_bytes().split(b"\n", 1)[0])[1]))


def _same(server: Server, right: list[float], found: list[float]) -> None:
    if len(found) != len(right) or not all(
        math.isclose(a, b, rel_tol=_TOLERANCE) for a, b in zip(found, right, strict=True)
    ):
        raise BenchmarkError(f"{server.name} answered {found[:3]}, LightGBM predicts {right[:3]}")


def servers_table(found: Found) -> list[str]:
    """Return the table of servers in Markdown, with their ratio to mlrf."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    baseline = found["mlrf"]
    for name, figures in found.items():
        middle: dict[str, float] = {what: median(values) for what, values in figures.items()}
        cells = [
            f"{middle[what]:,.0f}" + ("" if name == "mlrf" else f" ({_slower(figures[what], baseline[what])})")
            for what in ("row", "batch")
        ]
        cells += [_latency(middle["p50"], middle["p99"]), f"{middle['cold']:,.0f}", f"{middle['memory']:.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {SERVERS[name].n_lines} |")
    return lines


def _latency(p50_ms: float, p99_ms: float) -> str:
    return f"{p50_ms:.2f} / {p99_ms:.2f}" if math.isfinite(p99_ms) else "not sustained"


def _slower(rival: list[float], baseline: list[float]) -> str:
    return f"{median(a / b for a, b in zip(baseline, rival, strict=False)):.1f}x"


def engines_tables(rounds: int, names: Sequence[str] = rival_engines.ALL) -> Iterator[str]:
    """Yield the tables of engines in Markdown, a line at a time."""
    for model, table, missing in rival_engines.measure(rounds, names):
        for title, tasks in (("", rival_engines.SIZES), (", SHAP values", rival_engines.EXPLAINED)):
            yield f"### {model}{title}"
            yield ""
            yield "| µs a row | " + " | ".join(f"{int(task.split()[-1]):,} rows" for task in tasks) + " |"
            yield "|---" * (len(tasks) + 1) + "|"
            for name, cells in rival_engines.rows_of_table(table, tasks):
                yield f"| {name} | {' | '.join(cells)} |"
            yield ""
        for name, why in missing.items():
            yield f"Not measured: {_reason(name, why)}"
            yield ""


def _reason(name: str, why: str) -> str:
    return f"{name} ({' '.join(why.removeprefix(f'{name}: ').split())[:300]})."


def selected(only: Sequence[str]) -> dict[str, list[str]]:
    """Return the rivals to be measured, by table; ValueError for a name that is neither a table's nor a rival's."""
    every = {"servers": list(SERVERS), "engines": list(rival_engines.ALL)}
    given = set(map(_key, only))
    known = set(every) | {_key(name) for names in every.values() for name in names}
    if given - known:
        raise ValueError(f"unknown: {', '.join(sorted(given - known))}; known: {', '.join(sorted(known))}")
    found = {
        table: [name for name in names if not given or table in given or _key(name) in {"mlrf", *given}]
        for table, names in every.items()
    }
    return {table: names for table, names in found.items() if len(names) > 1}


def _key(name: str) -> str:
    return name.lower().replace(" ", "-")


def write_page(name: str, lines: list[str]) -> None:
    """Replace what stands between the page's markers of that name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2])


def main(argv: list[str]) -> None:
    """Measure, print, and write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", default=[], help="a table (servers, engines) or a rival")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each rival (3)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"seconds of load a turn ({SECONDS})")
    parser.add_argument("--write", action="store_true", help="replace the tables of docs/explanation/rivals.md")
    given = parser.parse_args(argv)
    try:
        tables = selected(given.only)
    except ValueError as error:
        parser.error(str(error))
    about: dict[str, Any] = machine.describe()
    for name, value in about.items():
        print(f"{name}: {value}")
    if names := tables.get("servers"):
        plan = Plan(make_models(RESULTS), rounds=given.rounds, seconds=given.seconds, starts=given.rounds)
        found, missing = measure_servers(plan, names)
        lines = servers_table(found) + [f"\nNot measured: {_reason(*each)}" for each in missing.items()]
        print("\n".join(lines), flush=True)
        if given.write and names == list(SERVERS):
            write_page("servers", lines)
    if names := tables.get("engines"):
        lines = []
        for line in engines_tables(given.rounds, names):
            lines.append(line)
            print(line, flush=True)
        if given.write and names == list(rival_engines.ALL):
            write_page("engines", lines)


if __name__ == "__main__":
    main(sys.argv[1:])
