"""`mlrf score`: files of tables in, a directory of parts out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.path_arguments import path_or_table_address
from mlrf.cli.row_leniency import UnknownCategoriesOption, leniency_of
from mlrf.cli.scoring_progress import scoring_progress
from mlrf.cli.single_answers import require_scoring, write_single
from mlrf.core.errors import ConfigError
from mlrf.model.row_files import STANDARD


def score(
    bundle: BundleArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Parquet, Arrow, CSV(.gz), JSON lines, prediction logs; directories, quoted globs; also at s3://, gs://, abfs://.",
            parser=path_or_table_address,
            metavar="inputs",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=path_or_table_address,
            metavar="<directory>",
            help="Directory, or s3://, gs:// or abfs:// address, to write the parts to; - for stdout.",
        ),
    ],
    keep: Annotated[
        str,
        typer.Option(
            metavar="<columns>",
            help=("Input columns to copy to the output, separated by commas, e.g. id,date (default: none)."),
        ),
    ] = "",
    keep_all: Annotated[bool, typer.Option("--keep-all", help="Copy all columns of the first input.")] = False,
    columns: Annotated[
        str,
        typer.Option(
            metavar="<columns>",
            help="Answers, separated by commas: prediction, label, probabilities, margin (default: prediction,label).",
        ),
    ] = "",
    explain: Annotated[
        str,
        typer.Option(metavar="<k|all>", help="Add the k largest contributions of features, or all (default: none)."),
    ] = "",
    explain_form: Annotated[
        str, typer.Option(help="Contributions as columns (`wide`), or as a row for each (`long`).")
    ] = "wide",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="<format>",
            help="Format of the parts: `parquet` (default), `arrow`, `csv`; also `jsonl` on stdout, where it is the default.",
        ),
    ] = None,
    on_bad_row: Annotated[
        str,
        typer.Option(help="`stop` at an invalid row, write it to _quarantine (`quarantine`), or answer `null`."),
    ] = "stop",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of threads (default: the number of processors).")
    ] = None,
    memory_limit: Annotated[
        int | None,
        typer.Option(min=1, help="Megabytes of memory that fewer threads are used for (default: what is available)."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete the output of another job in the directory and start again.")
    ] = False,
    unknown_categories: UnknownCategoriesOption = "refuse",
) -> None:
    """Score files of tables into parts in a directory or a store, one for each row group, in the order of the input.

    Columns are matched by name. After a kill, the same command continues the job, with the same bytes as output; a changed
    model, input or option is refused without --restart. Files that the job did not write are never overwritten.

    \b
    Examples:
      mlrf score sales rows.parquet -o scored --keep id,date
      mlrf score models/sales@3 "sales/2026-*.csv.gz" -o scored --explain 3 --on-bad-row quarantine
    """  # noqa: D301  \b is the character that keeps typer from joining lines
    leniency = leniency_of(unknown_categories)
    if keep and keep_all:
        raise ConfigError("--keep-all: it copies every column; leave --keep out")
    answers: dict[str, Any] = {
        "keep": "all" if keep_all else _names(keep),
        "columns": _names(columns) or None,
        "explain": _number_explained(explain),
        "explain_form": explain_form,
        "unknown_categories": leniency.unknown_categories,
        "on_bad_row": on_bad_row,
        "workers": workers,
    }
    if out == STANDARD:
        if restart:
            raise ConfigError("--restart: standard output is not continued; leave the option out")
        write_single(bundle, inputs, out, format_, **answers)
        return
    if STANDARD in inputs:
        raise ConfigError("-: standard input cannot be read again to continue a job; write to standard output instead")
    with require_scoring():
        from mlrf.scoring import score as run  # noqa: PLC0415  with pyarrow, which a server may lack
        from mlrf.scoring.job_output import output_location  # noqa: PLC0415
    with scoring_progress() as progress:
        summary = run(
            bundle,
            inputs,
            out,
            format=format_ or "parquet",  # type: ignore[arg-type]
            restart=restart,
            memory_limit_mb=memory_limit,
            on_start=progress.on_start,
            on_rows=progress.on_rows,
            caller="command line",
            **answers,
        )
    bad = f"; {summary.bad_rows} rows without an answer" if summary.bad_rows else ""
    typer.echo(
        f"{summary.rows} rows in {summary.parts} parts of {output_location(out)}, {summary.parts_scored} of them scored "
        f"now{bad}; run {summary.run}"
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _number_explained(text: str) -> int | Literal["all"] | None:
    if text in ("", "all"):
        return "all" if text else None
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"--explain: give the number of largest contributions, or all, not {text!r}")
    return int(text)
