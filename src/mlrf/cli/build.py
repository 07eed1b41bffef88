"""`mlrf build`: make a bundle from a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from typer.core import TyperArgument, TyperCommand

from mlrf.builder.build_extra import require_packages
from mlrf.cli.build_report import print_build_report
from mlrf.cli.game_options import build_options, with_game_options
from mlrf.cli.path_arguments import non_empty_path, path_option
from mlrf.cli.progress import progress_console
from mlrf.core.bundle import read_bundle
from mlrf.core.manifest import NAME_RULE


class BuildCommand(TyperCommand):
    """The command, with the names of the libraries in its help: their table takes 0.2 s to import."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from mlrf.builder.importers.detect import LIBRARY_NAMES  # noqa: PLC0415

        for each in self.params:
            if isinstance(each, TyperArgument) and each.help is not None:
                each.help = each.help.format(libraries=", ".join(LIBRARY_NAMES))
        super().format_help(ctx, formatter)


@with_game_options("games", build_options)
def build(
    model: Annotated[
        Path,
        typer.Argument(
            parser=non_empty_path,
            metavar="model",
            help="A model file, or a directory of a model: {libraries}, MLflow.",
        ),
    ],
    out: Annotated[
        Path,
        path_option("Directory to write the bundle to; it must not exist (see --force).", "--out", "-o"),
    ],
    name: Annotated[str, typer.Option("--name", help=f"The model's name: {NAME_RULE}")],
    sample: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file of typical input rows: used for feature kinds, the example and the parity check."
        ),
    ] = None,
    categories: Annotated[
        Path | None, typer.Option(help='JSON {"feature": ["a", "b"]}: categories in the order of their codes.')
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class labels in output order, e.g. a,b,c (default: the model's).")
    ] = None,
    defaults: Annotated[
        Path | None, typer.Option(help='JSON {"feature": value}: defaults of features that requests may leave out.')
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task of an ONNX file: regression, binary, multiclass, or raw.")
    ] = None,
    feature_names: Annotated[
        str | None,
        typer.Option(help="Feature names in column order, e.g. a,b,c, for ONNX and models trained on arrays."),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read a pickle or joblib file. This RUNS ANY CODE in the file.")
    ] = False,
    features: Annotated[Path | None, path_option("Parquet file of rows to serve by key.")] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Key columns, e.g. store_id,date (without --features: name:type, e.g. date:date)."),
    ] = None,
    as_of_column: Annotated[
        str | None, typer.Option(help="Column with the as-of time; of rows with the same key the latest is kept.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Allow rows that lack some features; requests send the rest as overrides.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Precompute the contributions of every row, to serve with its prediction.")
    ] = False,
    games: Mapping[str, Any] = MappingProxyType({}),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle, atomically.")] = False,
) -> None:
    """Make a bundle from a trained model, and prove it against the training library.

    Recognises and reads the model, exports it for both engines, and compares both with the training library (run in a
    child process) on golden rows: sample rows, random rows, missing values, and rows exactly on each node's threshold or
    category. The bundle is written only if the predictions are equal.

    \b
    Examples:
      mlrf build model.txt -o sales --name sales
      mlrf build model.ubj -o sales --name sales --sample rows.parquet --force
      mlrf build model.txt -o sales --name sales --features rows.parquet --key store_id,date --explain
      mlrf build model.txt -o churn --name churn --categories lists.json --classes stays,leaves
    """  # noqa: D301  \b is the character that keeps typer from joining lines
    require_packages()
    from mlrf.builder.build import build as build_bundle  # noqa: PLC0415  --help needs none of it

    with _bars() as bars:
        path = build_bundle(
            model,
            out,
            name=name,
            sample=sample,
            categories=categories,
            classes=None if classes is None else [label.strip() for label in classes.split(",")],
            defaults=defaults,
            task=task,
            feature_names=None if feature_names is None else [each.strip() for each in feature_names.split(",")],
            force=force,
            features=features,
            key=None if key is None else [field.strip() for field in key.split(",")],
            as_of_column=as_of_column,
            partial=partial,
            explain=explain,
            allow_pickle=allow_pickle,
            progress=_Steps(bars),
            **games,
        )
    print_build_report(Console(), read_bundle(path), out)


class _Steps:
    """A progress display with one bar per build step."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: float) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=None if done == 0.0 else 1.0)
        # A step of unknown length pulses until it is done.
        self._bars.update(self._tasks[step], completed=done, total=1.0 if done else None)


def _bars() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=progress_console())
