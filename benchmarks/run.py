"""`make bench`: mlrf compared with a peer and with its own bars, in one run.

    python benchmarks/run.py [--quick] [--only NAME]...

Prints machine and versions, then one line per figure with its bars, and stores everything measured as JSON under results/.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import against_peer
import by_key
import cached
import engines
import feature_store
import footprint
import hit_ratio
import hot_path
import machine
import oip
import python_client
import scaling
import steady_rate
from contenders import BenchmarkError, mlrf_contenders
from figures import Figure, heading
from plan import Plan, make_models

RESULTS = Path(__file__).with_name("results")
OPEN_FILES = 8_192

Measure = Callable[[Plan], Iterable[Figure]]
MEASURES: dict[str, Measure] = {
    "engines": lambda plan: engines.measure(plan, engines.MANY if plan.starts > QUICK_STARTS else engines.MANY_QUICK),
    "hot-path": hot_path.measure,
    "peer": lambda plan: against_peer.measure(plan, mlrf_contenders()),
    "cache": cached.measure,
    "hit-ratio": hit_ratio.measure,
    "features": feature_store.measure,
    "workers": scaling.measure_workers,
    "connections": scaling.measure_connections,
    "rate": lambda plan: steady_rate.measure(plan, 10 if plan.starts > QUICK_STARTS else 4),
    "by-key": lambda plan: by_key.measure(plan, 10 if plan.starts > QUICK_STARTS else 4),
    "oip": oip.measure,
    "client": python_client.measure,
    "memory": footprint.measure_memory,
    "cold-start": footprint.measure_cold_start,
}
QUICK_STARTS = 5


def main(argv: list[str]) -> int:
    """Measure, print and store the results."""
    given = read_arguments(argv)
    allow_many_connections()
    began = time.monotonic()
    failed: list[str] = []
    try:
        models = make_models(RESULTS)
        plan = Plan(models, rounds=1, seconds=2, starts=QUICK_STARTS) if given.quick else Plan(models, 3, 3, starts=20)
        about = machine.describe()
        for name, value in about.items():
            print(f"{name}: {value}")
        shapes = {folder.name: json.loads((folder / "shape.json").read_text()) for folder in sorted(models.iterdir())}
        print("models:", json.dumps(shapes))
        print("\n" + heading(), flush=True)
        figures: dict[str, list[Figure]] = {}
        for name in given.only or MEASURES:
            figures[name] = []
            try:
                for figure in MEASURES[name](plan):
                    figures[name].append(figure)
                    print(figure.line(), flush=True)
            except BenchmarkError as error:
                # The other measures are still worth having.
                failed.append(name)
                print_error(error)
    except BenchmarkError as error:
        print_error(error)
        return 1
    kept = {"about": about, "models": shapes, "plan": {"rounds": plan.rounds, "seconds": plan.seconds}}
    kept["failed"] = failed
    kept["figures"] = {name: [figure.as_json() for figure in found] for name, found in figures.items()}
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(kept, indent=1))
    print(f"\n{time.monotonic() - began:.0f} s; everything measured: benchmarks/results/{path.name}")
    return 1 if failed else 0


def print_error(error: BenchmarkError) -> None:
    print(f"error: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr, flush=True)


def read_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="one short round, to check that it runs, not how fast it is"
    )
    parser.add_argument(
        "--only", action="append", choices=tuple(MEASURES), metavar="NAME", help=f"{', '.join(MEASURES)}"
    )
    return parser.parse_args(argv)


def allow_many_connections() -> None:
    """Raise the limit on open files for this process, and so for the servers and wrk, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
