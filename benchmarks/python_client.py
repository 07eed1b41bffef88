"""What the Python client costs: a call of one row above `http.client` alone, and a million rows of a data frame.

With an argument it measures, in a separate process: a server of one worker, and this process as its client. Figures are of
processor time, which another load on the machine changes least.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from figures import Figure, at_least, at_most
from plan import Plan
from processes import cpu_seconds

CALLS, PASSES = 1_000, 7
ROWS, CORES = 1_000_000, 2
MOST_ADDED_US, LEAST_ROWS = 60.0, 150_000.0


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the processor time that a call adds, and rows per second of a data frame."""
    plan.say("the Python client")
    rows = ROWS if plan.rounds > 1 else ROWS // 10
    done = subprocess.run(
        [sys.executable, __file__, str(plan.home("regression")), str(rows)], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    yield Figure("client: http.client alone, one row", found["raw_us"], "us")
    yield Figure("client: added by Client.predict, one row", found["added_us"], "us", [at_most(MOST_ADDED_US)])
    details = {"client_s": found["client_s"], "server_s": found["server_s"], "wall_s": found["wall_s"]}
    what = f"client: rows of a data frame per second, {CORES} cores"
    yield Figure(what, [found["rows_per_s"]], "rows/s", [at_least(LEAST_ROWS)], details)


def main(home: Path, n_rows: int) -> None:
    """Measure, and print the figures as JSON."""
    import pandas as pd  # noqa: PLC0415  the runner must not import it

    from mlrf.core.bundle import read_bundle  # noqa: PLC0415
    from mlrf.testing import serving  # noqa: PLC0415

    names = list(read_bundle(home / "bundle").schema.names)
    frame = pd.read_parquet(home / "rows.parquet")[names]
    record = json.loads((home / "named.jsonl").read_bytes().splitlines()[0])["features"]
    with serving(home / "bundle", options=("--cache", "0")) as server, server.client() as client:
        connection = http.client.HTTPConnection(server.url.rpartition("/")[2])

        def alone() -> None:
            body = json.dumps({"features": record})
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            json.loads(connection.getresponse().read())["prediction"]

        raw_us, added_us = [], []
        for _ in range(PASSES):
            raw_us.append(microseconds(alone))
            added_us.append(microseconds(lambda: client.predict(record)) - raw_us[-1])
        many = pd.concat([frame] * (n_rows // len(frame) + 1), ignore_index=True).iloc[:n_rows]
        client.predict(many.iloc[:20_000])
        server_s, client_s, began_s = cpu_seconds(server.pid), time.process_time(), time.perf_counter()
        client.predict(many, timeout_s=600)
        wall_s = time.perf_counter() - began_s
        client_s, server_s = time.process_time() - client_s, cpu_seconds(server.pid) - server_s
    # One chunk after the other: the client waits while the server works, so that a quiet machine takes the sum of both.
    print(
        json.dumps(
            {
                "raw_us": raw_us,
                "added_us": added_us,
                "rows_per_s": n_rows / (client_s + server_s),
                "client_s": client_s,
                "server_s": server_s,
                "wall_s": wall_s,
            }
        )
    )


def microseconds(call: Callable[[], object]) -> float:
    """Return the mean processor time of a call in this process."""
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - began) / CALLS * 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
