"""`mlrf serve`: serve bundles over HTTP. It uses argparse, because typer and rich take 0.1 s to import."""

from __future__ import annotations

import os
import signal

from mlrf.cli.standard_streams import discard_closed_output
from mlrf.serving.config.loader import read_configuration


def main(argv: list[str]) -> int:
    """Run the command with its arguments; MlrfError when it cannot serve."""
    try:
        configuration = read_configuration(argv, os.environ)
    except SystemExit as ended:  # of --help: returned, so that what it wrote is flushed and a full disk noticed
        return ended.code if isinstance(ended.code, int) else 0
    if configuration.print_only:
        print(configuration.text(), end="", flush=True)
        from mlrf.serving.processes.check_start import check_start  # noqa: PLC0415  --help needs no bundle

        check_start(configuration.settings)
        return 0
    discard_closed_output()
    # SIGHUP ends a process by default: block it until the arbiter handles it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    from mlrf.serving.processes.startup import serve  # noqa: PLC0415  --help needs no server

    serve(configuration.settings, lambda: read_configuration(argv, os.environ).settings)
    return 0
