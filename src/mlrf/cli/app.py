"""The table of commands, and how typer runs one."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import typer
from typer.main import get_command

import mlrf
from mlrf.cli.bench import bench
from mlrf.cli.build import BuildCommand, build
from mlrf.cli.demo import demo
from mlrf.cli.deploy import deploy
from mlrf.cli.diff import diff
from mlrf.cli.explain import explain
from mlrf.cli.features import features
from mlrf.cli.image import image
from mlrf.cli.inspect import inspect
from mlrf.cli.keygen import keygen
from mlrf.cli.keys import keys
from mlrf.cli.old_versions import gc
from mlrf.cli.predict import predict
from mlrf.cli.publish import publish, rollback
from mlrf.cli.replay_log import replay
from mlrf.cli.score import score
from mlrf.cli.serve_completion import ServeCommand
from mlrf.cli.sign import sign
from mlrf.cli.verify import verify
from mlrf.cli.versions import versions

_HELP = """Serve gradient-boosted trees: fast, with proof that the number served is the number trained.

\b
  mlrf build model.txt -o sales --name sales   make a bundle from a trained model
  mlrf inspect sales                           show its contents, with an example request
  mlrf explain sales rows.csv                  show what each feature contributes
  mlrf features push sales news.jsonl          update rows by key while it serves
  mlrf bench sales                             time its engines on this machine
  mlrf serve sales                             serve it on http://127.0.0.1:8080
  mlrf image sales -o sales-image              put it into a container image
  mlrf demo                                    all of this on real retail data

Exit status: 0 success, 1 failure, 2 wrong arguments or settings (including labels, category lists and
samples that do not fit the model), 3 damaged bundle, 130 interrupted, 143 terminated.
"""

app = typer.Typer(
    name="mlrf",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; MlrfError when it fails on purpose."""
    try:
        _command()(arguments, prog_name="mlrf")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


_command = cache(lambda: get_command(app))
"""The commands as click has them. typer takes 20 ms to build them, which a process that runs several commands spends once."""


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"mlrf {mlrf.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Handle the options before a command."""


def _serve(_context: typer.Context) -> None:
    """Serve bundles over HTTP (`mlrf serve --help`)."""
    from mlrf.cli.serve import main  # noqa: PLC0415

    raise typer.Exit(main(list(_context.args)))


app.command(cls=BuildCommand)(build)
app.command()(inspect)
app.command()(verify)
app.command()(sign)
app.command()(keygen)
app.command()(predict)
app.command()(score)
app.command()(keys)
app.command()(explain)
app.command()(bench)
app.add_typer(features)
# Only listed and completed here: `mlrf.cli.main` dispatches `serve` before this module is imported.
app.command(
    "serve",
    cls=ServeCommand,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)(_serve)
app.command()(publish)
app.command()(rollback)
app.command()(versions)
app.command()(gc)
app.command()(diff)
app.command()(replay)
app.command()(image)
app.add_typer(deploy)
app.command()(demo)
