"""`mlrf predict`: predictions for the rows of a file, without a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.answer_files import as_lines, check_ending, write_answers
from mlrf.cli.bundle_argument import BUNDLE_HELP
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.row_files import STANDARD, leniency_of, read_file
from mlrf.core.named_bundle import open_bundle
from mlrf.engines.selection import open_engine
from mlrf.model import Model
from mlrf.model.row_predictor import RowPredictor


def predict(
    bundle: Annotated[Path, typer.Argument(help=BUNDLE_HELP, parser=non_empty_path, metavar="bundle")],
    rows: Annotated[
        Path,
        typer.Argument(
            help="Rows by column name: .json (array or lines), .csv or .parquet; - for standard input.",
            parser=non_empty_path,
            metavar="rows",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=non_empty_path,
            metavar="<path>",
            help="File to write instead of stdout (-): .jsonl, .csv or .parquet.",
        ),
    ] = None,
    unknown_categories: Annotated[
        str,
        typer.Option(help="What to do with unknown categories: `refuse`, treat as `missing`, or predict `as-library`."),
    ] = "refuse",
) -> None:
    """Predict the rows of a file, one JSON line per row: what the training library's predict returns.

    Columns are matched by name and extra columns ignored; categories are given by value; empty cells and null are missing.
    --out writes the format of the file extension: .jsonl (or .json) a line per row, .csv and .parquet a column per number.

    Example: mlrf predict sales rows.csv -o answers.jsonl
    """
    leniency = leniency_of(unknown_categories)
    if out == STANDARD:
        out = None
    if out is not None:
        check_ending(out)
    found = open_bundle(bundle)
    model = Model(found, open_engine(found))
    predictor = RowPredictor(found, model.engine)
    table = read_file(rows, model.schema)
    answers = model.predict(table, leniency).tolist() if len(table) else []
    labels = [predictor.label_of(answer) for answer in answers]
    if out is None:
        sys.stdout.write(as_lines(answers, labels).decode())
    else:
        write_answers(out, answers, labels, model.classes)
