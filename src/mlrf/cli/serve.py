"""`mlrf serve`: bundles behind HTTP. Parsed by argparse, for the rest of the command line costs 0.1 s to import."""

from __future__ import annotations

import os
import signal

from mlrf.serving.config.loader import read_configuration

_LAST_STANDARD = 2


def _fill_standard_descriptors() -> None:
    """Have nothing else take the place of a standard stream that came closed (`2>&-`): the log would be written there."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def main(argv: list[str]) -> int:
    """Run the command with its arguments; MlrfError when it cannot serve."""
    configuration = read_configuration(argv, os.environ)
    if configuration.print_only:
        print(configuration.text(), end="", flush=True)
        from mlrf.serving.processes.models_at_start import ModelsAtStart  # noqa: PLC0415  --help needs no bundle

        ModelsAtStart(configuration.settings)
        return 0
    _fill_standard_descriptors()
    # By default the end of a process: held back until there is an arbiter, which acts on it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    from mlrf.serving.processes.arbiter import serve  # noqa: PLC0415  --help needs no server

    serve(configuration.settings, lambda: read_configuration(argv, os.environ).settings)
    return 0
