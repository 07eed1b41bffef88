"""The command line: one module per command. `mlrf serve` is dispatched before typer and rich are imported."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; `argv` without the program's name."""
    from mlrf.cli.standard_streams import open_closed_streams  # noqa: PLC0415  with the standard library's basics alone

    open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["serve"]:
        return _serve(arguments[1:])
    from mlrf.cli.exit_status import reported  # noqa: PLC0415  with what it needs of the error tree alone

    with reported() as outcome:
        from mlrf.cli.signals import ended_by_signals  # noqa: PLC0415

        with ended_by_signals():
            from mlrf.cli.app import run  # noqa: PLC0415

            outcome.status = run(arguments)
    return outcome.status


def _serve(arguments: list[str]) -> int:
    # Importing typer and rich would add 0.1 s to a server's start, collections of what is imported a tenth of it;
    # `startup.serve` turns the collector on again.
    gc.disable()
    try:
        from mlrf.serving.processes.deferred_imports import defer_unused_imports  # noqa: PLC0415  a server alone

        defer_unused_imports()
        from mlrf.cli.exit_status import reported  # noqa: PLC0415  after the stand-ins

        with reported() as outcome:
            from mlrf.cli.serve import main as serve  # noqa: PLC0415

            outcome.status = serve(arguments)
    finally:
        gc.enable()
    return outcome.status
