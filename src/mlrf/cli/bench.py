"""`mlrf bench`: time the engines of a bundle on this machine."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

import mlrf
from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.engine_timing import FIGURES, Figures, rows_for, time_engines, timeable_engines
from mlrf.cli.progress import progress_console
from mlrf.core.named_bundle import open_bundle

_LIBRARIES = ("numpy", "onnxruntime")


def bench(
    bundle: BundleArgument,
    rows: Annotated[
        int, typer.Option(min=100, help="Rows of the largest batch; fewer if they would take over 256 MiB.")
    ] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Time the engines that a bundle has files for, side by side; ONNX Runtime only if it is installed.

    Figures are processor time of one thread, the best of several rounds. The engines alternate in each round, so that other
    load on the machine affects all alike. Rows are drawn from the bundle's golden rows, or made from its schema if pyarrow is
    not installed. No server and no HTTP is included: `mlrf serve` adds a few microseconds.

    Example: mlrf bench sales --rows 100000
    """
    found = open_bundle(bundle)
    table, source = rows_for(found, rows)
    engines = timeable_engines(found)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        console=progress_console(),
        transient=True,
        # The progress bar's thread would be counted in the processor time.
        auto_refresh=False,
    ) as bars:
        task = bars.add_task("timing the engines")

        def report_progress(done: float) -> None:
            bars.update(task, completed=100 * done, refresh=True)

        figures = time_engines(found, engines, table, report_progress)
    machine = _machine()
    if as_json:
        document = {
            "bundle": {"name": found.name, "version": found.short_version},
            "machine": machine,
            "rows": {"count": len(table), "from": source},
            "engines": figures,
        }
        typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        return
    console = Console()
    for line in (
        f"{found.name} {found.short_version}: {found.manifest.parts}, {found.manifest.n_features} features",
        f"{machine['processor']}; Python {machine['python']}; "
        + ", ".join(f"{name} {number}" for name, number in machine["libraries"].items()),
        f"{len(table)} rows, {source}; processor time of one thread, best of several",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(_side_by_side(figures, len(table)))


def _side_by_side(figures: dict[str, Figures], rows: int) -> Table:
    table = Table("", *figures, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    if len(figures) > 1:
        table.add_column("ratio", justify="right")
    for key, title, unit in FIGURES:
        cells = [engine[key] for engine in figures.values()]
        shown = ["-" if value is None else f"{value:.2f} {unit}" for value in cells]
        if len(cells) > 1:
            first, second = cells[0], cells[1]
            shown.append(f"{second / first:.1f}x" if first and second else "")
        table.add_row(title.format(rows=rows), *shown)
    return table


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {"mlrf": mlrf.__version__} | _installed(),
    }


def _installed() -> dict[str, str]:
    """Return the versions of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
