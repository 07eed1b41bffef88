"""`mlrf predict`: predictions for the rows of a file, without a server: `mlrf score` with one output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.path_arguments import path_option, path_or_table_address
from mlrf.cli.row_leniency import UnknownCategoriesOption, leniency_of
from mlrf.cli.single_answers import write_single
from mlrf.model.row_files import STANDARD


def predict(
    bundle: BundleArgument,
    rows: Annotated[
        Path,
        typer.Argument(
            help="Rows by column name: .json (array or lines), .csv, .parquet or .arrow, also at s3://; - for standard input.",
            parser=path_or_table_address,
            metavar="rows",
        ),
    ],
    out: Annotated[
        Path | None,
        path_option("File to write instead of stdout (-): .jsonl, .csv, .parquet or .arrow.", "--out", "-o"),
    ] = None,
    unknown_categories: UnknownCategoriesOption = "refuse",
) -> None:
    """Predict the rows of a file, one JSON line per row: what the training library's predict returns.

    Columns are matched by name and extra columns ignored; categories are given by value; empty cells and null are missing.
    --out writes the format of the file extension: .jsonl (or .json) a line per row, others a column per number. `mlrf score`
    has more options, and continues after an interruption.

    Example: mlrf predict sales rows.csv -o answers.jsonl
    """
    leniency = leniency_of(unknown_categories)
    write_single(bundle, [rows], STANDARD if out is None else out, unknown_categories=leniency.unknown_categories)
