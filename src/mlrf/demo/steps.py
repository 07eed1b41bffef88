"""The steps of the demo in order: read → panel → train → build → serve → predict → load → stay up."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import pandas as pd
from rich.console import Console

from mlrf.demo import console
from mlrf.demo.console import Example
from mlrf.demo.daily_totals import sum_by_day
from mlrf.demo.feature_panel import Panel, make_panel
from mlrf.demo.load_generator.drive import drive_and_wait
from mlrf.demo.load_generator.load_report import LoadReport
from mlrf.demo.request_rows import (
    AS_OF_COLUMN,
    KEY,
    busiest_on_the_last_day,
    key_of,
    keyed_rows,
    named_instances,
    positional_instances,
    predict_bodies,
)
from mlrf.demo.retail import Retail, read_retail
from mlrf.demo.server_process import HOST, Server, serve_command
from mlrf.demo.training import TREES, Trained, train

MODEL_NAME = "department-revenue"
STORES = 54
EXAMPLES = 5
STORED_DAYS = 7
SAMPLE_ROWS = 2_000
CONNECTIONS = 32


def build_bundle(model: lgb.Booster, out: Path, sample: pd.DataFrame, rows: pd.DataFrame) -> Path:
    """Build with `mlrf.build`, replacing what an earlier run of the demo left, and nothing that is not a bundle.

    `rows` are served by key; their contributions are precomputed here.
    """
    # Looked up when it is called: the demo imports no layer above core for a caller who only wants the load driver.
    build = importlib.import_module("mlrf").build
    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) / "rows.parquet"
        rows.to_parquet(features, index=False)
        bundle: Path = build(
            model,
            out,
            name=MODEL_NAME,
            sample=sample,
            force=(out / "manifest.json").is_file(),
            features=features,
            key=KEY,
            as_of_column=AS_OF_COLUMN,
            explain=True,
        )
    return bundle


@dataclass(frozen=True)
class DemoOptions:
    """The replaceable parts of the demo: data, size, builder and server."""

    read: Callable[[], Retail] = read_retail
    trees: int = TREES
    build: Callable[[lgb.Booster, Path, pd.DataFrame, pd.DataFrame], Path] = build_bundle
    command: Callable[..., list[str]] = serve_command


class DemoRun:
    """One run of the demo; `is_complete` becomes true when every step is done and the server stays up."""

    def __init__(self, console: Console, parts: DemoOptions, *, port: int, workers: int, out: Path) -> None:
        self._console, self._parts, self._port, self._workers, self._out = console, parts, port, workers, out
        self.is_complete = False

    def run_steps(self, *, rate: int, seconds: int, once: bool) -> int:
        """Run all steps and return 0, or 1 when a request of the load failed or the server ended by itself."""
        console.print_introduction(self._console)
        trained = self._train()
        with self._step("building and verifying the bundle"):
            hold_out = trained.hold_out.features
            spread = np.linspace(0, len(hold_out) - 1, min(SAMPLE_ROWS, len(hold_out))).astype(np.int64)
            sample, rows = hold_out.iloc[spread].reset_index(drop=True), keyed_rows(trained.hold_out, STORED_DAYS)
            bundle = self._parts.build(trained.booster, self._out, sample, rows)
        self._console.print(
            f"Bundle: {bundle}, with the {len(rows):,} rows of the last {STORED_DAYS} days by key, explained"
        )

        with Server(self._parts.command(bundle, port=self._port, workers=self._workers), self._port) as server:
            self._console.print(f"Serving on http://{HOST}:{self._port} with {self._workers} worker(s).")
            chosen = busiest_on_the_last_day(trained.hold_out, EXAMPLES)
            console.print_examples(self._console, [self._predict_example(server, trained, int(row)) for row in chosen])
            first = trained.hold_out.features.iloc[chosen[:1]]
            key = key_of(named_instances(first)[0], str(trained.hold_out.day[int(chosen[0])].date()))
            console.print_prediction_by_key(self._console, key, self._predict_by_key(server, key))
            report = self._drive(trained.hold_out, rate=rate, seconds=seconds)
            console.print_load(self._console, report, connections=CONNECTIONS)
            shown = hold_out.iloc[chosen[:1]]
            console.print_curl_lines(
                self._console, self._port, named_instances(shown)[0], positional_instances(shown)[0], key
            )
            console.print_page(self._console, self._port, MODEL_NAME, key)
            status = 1 if report.error_count else 0
            if not once:
                self._stay_up(server)
                status = 1
        return status

    def _train(self) -> Trained:
        with self._step("reading the transactions"):
            retail = self._parts.read()
        with self._step("making the panel"):
            daily = sum_by_day(retail.lines, store_count=STORES)
            panel = make_panel(daily)
        console.print_data(self._console, retail, daily, len(panel.revenue))
        with self._step("training trees", total=self._parts.trees) as advance:
            trained = train(panel, trees=self._parts.trees, on_tree=advance)
        console.print_training(self._console, trained)
        return trained

    def _predict_example(self, server: Server, trained: Trained, row: int) -> Example:
        one = trained.hold_out.features.iloc[row : row + 1]
        instance = named_instances(one)[0]
        answer = server.request("POST", "/predict", predict_bodies([instance])[0])
        return Example(
            day=str(trained.hold_out.day[row].date()),
            store=instance["store_id"],
            department=instance["department"],
            actual=float(trained.hold_out.revenue[row]),
            served=float(answer["prediction"]),
            library=float(np.asarray(trained.booster.predict(one))[0]),
        )

    def _predict_by_key(self, server: Server, key: dict[str, Any]) -> dict[str, Any]:
        body = {"key": key, "explain": console.N_CONTRIBUTIONS, "return_features": True}
        return server.request("POST", "/predict", msgspec.json.encode(body))

    def _drive(self, hold_out: Panel, *, rate: int, seconds: int) -> LoadReport:
        # The most recent rows, and as many different ones as there are requests if possible: an
        # answer from the server's cache would flatter the figures.
        newest_first = np.argsort(-hold_out.day.to_numpy().astype(np.int64), kind="stable")[: rate * seconds]
        bodies = predict_bodies(named_instances(hold_out.features.iloc[newest_first]))
        bars = console.progress(self._console, auto_refresh=False)
        with bars:
            task = bars.add_task(f"driving {rate:,} requests/s for {seconds} s", total=rate * seconds)

            def show(settled: int, due: int) -> None:
                bars.update(task, completed=settled, total=due, refresh=True)

            report = drive_and_wait(
                HOST,
                self._port,
                "/predict",
                bodies,
                rate=rate,
                duration_s=seconds,
                connections=CONNECTIONS,
                on_second=show,
            )
            show(report.due, report.due)
        return report

    def _stay_up(self, server: Server) -> None:
        """Return only when the server has ended by itself, which is an error: a requested end interrupts this."""
        self.is_complete = True
        self._console.print("The server stays up until Ctrl-C.")
        while server.alive:
            time.sleep(0.2)
        self._console.print(f"The server ended by itself.\n{server.log_tail()}", style="red", markup=False)

    @contextmanager
    def _step(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Show a bar until the step is over; without a total it only shows activity."""
        with console.progress(self._console) as bars:
            task = bars.add_task(name, total=total)
            yield lambda: bars.advance(task)
            bars.update(task, total=total or 1, completed=total or 1)
