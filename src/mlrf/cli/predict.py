"""`mlrf predict`: the rows of a file, answered without a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from mlrf.cli.path_arguments import some_path
from mlrf.cli.row_files import leniency_of, read_file
from mlrf.core.errors import BuildError
from mlrf.model import load


def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle that `mlrf build` made.")],
    rows: Annotated[Path, typer.Argument(help="Rows by column name: .json (array or lines), .csv or .parquet.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=some_path, metavar="<path>", help="Write there instead of to stdout."),
    ] = None,
    unknown_categories: Annotated[
        str, typer.Option(help="`refuse` a category that the model has no code for, or read it as `missing`.")
    ] = "refuse",
) -> None:
    """Answer the rows of a file, one JSON line a row: what the training library's predict returns.

    Columns are found by name and extra ones ignored; categories go by value; empty cells and null are missing.

    Example: mlrf predict sales rows.csv -o answers.jsonl
    """
    leniency = leniency_of(unknown_categories)
    model = load(bundle)
    table = read_file(rows, model.schema)
    answers = model.predict(table, leniency).tolist() if len(table) else []
    lines = b"".join(_line(model.label_of, answer) for answer in answers)
    if out is None:
        sys.stdout.write(lines.decode())
        return
    try:
        out.write_bytes(lines)
    except OSError as error:
        raise BuildError(f"{out} cannot be written: {error.strerror}") from error


def _line(label: Any, answer: float | list[float]) -> bytes:
    named: dict[str, Any] = {"prediction": answer}
    if (found := label(answer)) is not None:
        named["label"] = found
    return msgspec.json.encode(named) + b"\n"
