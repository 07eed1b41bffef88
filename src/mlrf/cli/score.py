"""`mlrf score`: Parquet files in, a directory of Parquet parts out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mlrf.cli.bundle_argument import BUNDLE_HELP
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.progress import progress_console
from mlrf.cli.row_files import leniency_of
from mlrf.core.errors import ConfigError


def score(
    bundle: Annotated[Path, typer.Argument(help=BUNDLE_HELP, parser=non_empty_path, metavar="bundle")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Parquet files, directories of them, or quoted globs.", parser=non_empty_path, metavar="inputs"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=non_empty_path, metavar="<directory>", help="Directory to write the parts to."
        ),
    ],
    keep: Annotated[
        str,
        typer.Option(
            metavar="<columns>",
            help=("Input columns to copy to the output, separated by commas, e.g. id,date (default: none)."),
        ),
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of threads (default: the number of processors).")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete the output of another job in the directory and start again.")
    ] = False,
    unknown_categories: Annotated[
        str,
        typer.Option(help="What to do with unknown categories: `refuse`, treat as `missing`, or predict `as-library`."),
    ] = "refuse",
) -> None:
    """Score Parquet files into a directory of Parquet parts, one for each row group, in the order of the input.

    Columns are matched by name. After a kill, the same command continues the job, with the same bytes as output; a changed
    model, input or option is refused without --restart. Files that the job did not write are never overwritten.

    \b
    Examples:
      mlrf score sales rows.parquet -o scored --keep id,date
      mlrf score models/sales@3 "sales/2026-*.parquet" -o scored
    """  # noqa: D301  \b is the character that keeps typer from joining lines
    leniency = leniency_of(unknown_categories)
    try:
        from mlrf.scoring import score as run  # noqa: PLC0415  with pyarrow, which a server may lack
    except ImportError as error:
        raise ConfigError(f"scoring needs pyarrow: pip install 'mlrf[score]' ({error})") from error
    columns = (
        TextColumn("scoring"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows, {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=progress_console()) as progress:
        task = progress.add_task("scoring", total=0, start=False, speed="")

        def show(done: int, total: int) -> None:
            if not progress.tasks[0].started:
                progress.start_task(task)
            speed = progress.tasks[0].speed
            progress.update(task, completed=done, total=total, speed="" if speed is None else f"{speed:,.0f} rows/s")

        summary = run(
            bundle,
            inputs,
            out,
            keep=[name for name in keep.split(",") if name],
            unknown_categories=leniency.unknown_categories,
            workers=workers,
            restart=restart,
            on_rows=show,
        )
    typer.echo(
        f"{summary.rows} rows in {summary.parts} parts of {out}, {summary.parts_scored} of them scored now; run {summary.run}"
    )
