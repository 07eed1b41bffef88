"""`mlrf explain`: the contributions of features to the predictions for a file's rows."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.explanation_game import ExplanationGame, explanation_game
from mlrf.cli.explanation_page import MOST_ROWS, ExplainedRow, explanation_page
from mlrf.cli.game_options import explain_options, with_game_options
from mlrf.cli.path_arguments import non_empty_path, path_option
from mlrf.cli.row_leniency import UnknownCategoriesOption, leniency_of
from mlrf.cli.rows_memory import check_rows_fit
from mlrf.cli.terminal_text import escaped
from mlrf.cli.waterfall_text import waterfall
from mlrf.cli.written_lines import write_lines
from mlrf.core.errors import ConfigError
from mlrf.core.named_bundle import open_bundle
from mlrf.engines.selection import open_engine
from mlrf.model import Model
from mlrf.model.array_rows import Table
from mlrf.model.drawing import RowContributions
from mlrf.model.explanation_kinds import GAME_OPTIONS
from mlrf.model.given_game import explain_rows
from mlrf.model.interactions import interactions_of
from mlrf.model.prepared_game import PreparedGame
from mlrf.model.row_files import STANDARD, read_file
from mlrf.model.row_predictor import RowPredictor
from mlrf.model.table_input import read_rows
from mlrf.serving.native.explanation_writer import ExplanationWriter, with_member
from mlrf.serving.native.interaction_writer import MOST_INTERACTIONS, write_interactions
from mlrf.serving.native.requests import MAX_INTERACTIONS

_SHOWN = 10
_ENDINGS = (".jsonl", ".json", ".ndjson")
_SLICE_ROWS = 1000
"""Rows explained at once: a file may have millions, and each row has a contribution for each feature."""
_STREAMED = "`mlrf score --explain all` explains files of any size"


@with_game_options("games", explain_options)
def explain(
    bundle: BundleArgument,
    rows: Annotated[
        Path,
        typer.Argument(
            help="Rows by column name: .json (array or lines), .csv or .parquet; - for standard input.",
            parser=non_empty_path,
            metavar="rows",
        ),
    ],
    row: Annotated[int | None, typer.Option(min=0, help="The row to explain, from 0 (the first; --json: all).")] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of largest contributions to show; the rest is one sum (default: 10; --json: all)."
        ),
    ] = None,
    interactions: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_INTERACTIONS, help="Number of largest interactions of two features to show too."),
    ] = None,
    games: Mapping[str, Any] = MappingProxyType({}),
    class_label: Annotated[
        str | None, typer.Option("--class", help="The class to explain (the predicted one); multiclass models.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON line per row: the `explanation` of a server's response.")
    ] = False,
    out: Annotated[
        Path | None,
        path_option("File to write the lines of --json to (.jsonl).", "--out", "-o"),
    ] = None,
    html: Annotated[
        Path | None,
        path_option("File to write a page to, with a drawing and a table of each row (.html)."),
    ] = None,
    unknown_categories: UnknownCategoriesOption = "refuse",
) -> None:
    """Show what each feature contributes to a prediction, starting from the expected margin.

    Contributions are exact Shapley values of the trees in the space of the raw margin: the base plus all contributions is
    the margin, and the link maps the margin to the prediction. With a background the base is the mean margin of its rows.

    \b
    Examples:
      mlrf explain sales rows.csv
      mlrf explain sales rows.parquet --row 41 --top 5
      mlrf explain sales rows.parquet --row 41 --interactions 5
      mlrf explain sales rows.parquet --background typical.parquet
      mlrf explain sales rows.json -o contributions.jsonl
      mlrf explain sales rows.csv --row 41 --html why.html
    """  # noqa: D301  \b is the character that keeps typer from joining lines
    leniency = leniency_of(unknown_categories)
    as_json = as_json or out is not None
    _check_options(out, html, class_label, interactions, as_json=as_json)
    if interactions is not None and any(games.values()):
        names = " and ".join(f"the {option.name}" for option in GAME_OPTIONS)
        raise ConfigError(f"--interactions: they are path-dependent, of features; leave out {names}, or --interactions")
    found = open_bundle(bundle)
    model = Model(found, open_engine(found))
    output = None if class_label is None else _output(model, class_label)
    check_rows_fit(rows, model.schema, _STREAMED)
    table = read_rows(model.schema, read_file(rows, model.schema), leniency)
    shown = explanation_game(model, games, leniency)
    if row is not None and row >= len(table):
        raise ConfigError(f"--row: {rows} has {len(table)} rows, numbered from 0; there is no row {row}")
    if html is not None:
        _write_page(html, model, shown, table, row, output, top or _SHOWN)
    elif as_json:
        lines = _lines(model, shown.game, table if row is None else table[row : row + 1], top, interactions)
        if out is None or out == STANDARD:
            for line in lines:
                sys.stdout.write(line.decode())
        else:
            write_lines(out, lines)
    elif len(table):
        _print_waterfall(model, shown, table, row or 0, output, top or _SHOWN)
        _print_interactions(model, table[(row or 0) : (row or 0) + 1], output, interactions)


def _check_options(
    out: Path | None, html: Path | None, class_label: str | None, interactions: int | None, *, as_json: bool
) -> None:
    if out is not None and out != STANDARD and out.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"--out: {out}: the file must end in {', '.join(_ENDINGS)}")
    if html is not None and (as_json or html.suffix.lower() not in (".html", ".htm")):
        raise ConfigError(f"--html: {html}: the file must end in .html, and --json and --out be left out")
    if html is not None and interactions is not None:
        raise ConfigError("--interactions: the page of --html does not show them; leave one of the two out")
    if as_json and class_label is not None:
        raise ConfigError("--class: it selects what is shown in the terminal; --json and --out contain every class")


def _output(model: Model, label: str) -> int:
    if model.classes is None or model.engine.n_outputs == 1:
        raise ConfigError(f"--class: {model.name} has a single output and no classes; leave it out")
    labels = [str(c) for c in model.classes]
    if label not in labels:
        raise ConfigError(f"--class: {label!r} is not one of {', '.join(labels)}")
    return labels.index(label)


def _lines(
    model: Model, game: PreparedGame, table: Table, top: int | None, interactions: int | None
) -> Iterator[bytes]:
    rows = RowPredictor(model.bundle, model.engine)
    writer = ExplanationWriter(game.players, game.explainer.base, model.classes, game.members)
    for first in range(0, len(table), _SLICE_ROWS):
        part = table[first : first + _SLICE_ROWS]
        margins, values = model.margin(part), explain_rows(rows, game, part).values
        written = writer.write(array("d", margins.tobytes()), array("d", values.tobytes()), top or True)
        if interactions is not None:
            written = [
                with_member(each, b"interactions", _interactions(model, part[index : index + 1], interactions))
                for index, each in enumerate(written)
            ]
        yield b"".join(each + b"\n" for each in written)


def _interactions(model: Model, one: Table, k: int) -> dict[str, Any]:
    """Return the k largest interactions of one row, as a server's explanation has them."""
    rows = RowPredictor(model.bundle, model.engine)
    margins = np.atleast_1d(model.margin(one)[0]).tolist()
    values = interactions_of(rows, one.data, 1, MOST_INTERACTIONS)
    return write_interactions(model.schema.names, model.classes, margins, values, k)


def _print_interactions(model: Model, one: Table, output: int | None, k: int | None) -> None:
    if k is None:
        return
    margins = np.atleast_1d(model.margin(one)[0]).tolist()
    found = _interactions(model, one, k)
    label = None
    if len(margins) > 1:
        chosen = max(range(len(margins)), key=margins.__getitem__) if output is None else output
        label = str((model.classes or range(len(margins)))[chosen])
    console = Console()
    console.print("interactions, each part of both features' contributions:", highlight=False, markup=False)
    for pair in found["pairs"]:
        value = pair["value"] if label is None else pair["value"][label]
        console.print(escaped(f"{value:+12.6g}  {' x '.join(pair['features'])}"), highlight=False, markup=False)
    other = found["other"] if label is None else found["other"][label]
    console.print(f"{other:+12.6g}  all other pairs", highlight=False, markup=False)


def _explained(
    model: Model, game: PreparedGame, table: Table, row: int, output: int | None
) -> tuple[RowContributions, str]:
    """Return the contributions to one output of a row (by default the largest), and a text that names class or output."""
    one = table[row : row + 1]
    rows = RowPredictor(model.bundle, model.engine)
    found = explain_rows(rows, game, one)
    margins = np.atleast_1d(model.margin(one)[0]).tolist()
    prediction = rows.prediction(margins)
    if output is None:
        output = max(range(len(margins)), key=margins.__getitem__)
    several = isinstance(prediction, list)
    contributions = RowContributions(
        base=float(np.atleast_1d(found.base)[output]),
        contributions=found.values[0].reshape(-1, len(margins))[:, output].tolist(),
        margin=margins[output],
        prediction=prediction[output] if isinstance(prediction, list) else prediction,
        link=model.bundle.link.kind,
        values=found.row_contributions(0).values,
    )
    return contributions, _class_text(model, prediction, output if several else None)


def _print_waterfall(
    model: Model, shown: ExplanationGame, table: Table, row: int, output: int | None, top: int
) -> None:
    contributions, class_text = _explained(model, shown.game, table, row, output)
    console = Console()
    title = f"{model.name} {model.bundle.short_version}, row {row} of {len(table)}"
    console.print(escaped(title + class_text + shown.title), highlight=False, markup=False)
    console.print(waterfall(contributions, top, console.width), no_wrap=True)


def _write_page(
    path: Path, model: Model, shown: ExplanationGame, table: Table, row: int | None, output: int | None, top: int
) -> None:
    chosen = range(len(table)) if row is None else [row]
    if len(chosen) > MOST_ROWS:
        raise ConfigError(
            f"--html: the file has {len(table)} rows, and a page holds at most {MOST_ROWS}; choose one with --row"
        )
    rows = []
    for index in chosen:
        contributions, class_text = _explained(model, shown.game, table, index, output)
        rows.append(ExplainedRow(f"Row {index}{class_text}{shown.title}", contributions))
    write_lines(path, [explanation_page(f"{model.name} {model.bundle.short_version}", rows, top).encode()])


def _class_text(model: Model, prediction: Any, output: int | None) -> str:
    label = RowPredictor(model.bundle, model.engine).label_of(prediction)
    if label is None or model.classes is None:
        return "" if output is None else f", output {output}"
    predicted = f", predicted class {label}"
    if output is None or model.classes[output] == label:
        return predicted
    return f"{predicted}; explained class {model.classes[output]}"
