"""The entry point of the demo: checks before the long work, and cleanup after it.

`steps` runs the demo and needs the demo's packages; this module does not, and reports which one is missing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from mlrf.builder.bundle.writer import check_output
from mlrf.core.errors import ConfigError, OutputExistsError
from mlrf.demo.server_process import require_free_port

if TYPE_CHECKING:
    from mlrf.demo.steps import DemoOptions

DEFAULT_OUT = Path("demo-bundle")

_EXTRA = ("lightgbm", "pandas", "pyarrow")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    *,
    once: bool,
    port: int,
    workers: int,
    out: Path | None,
    rate: int,
    seconds: int,
    parts: DemoOptions | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo and return the exit status: 0 success, 1 when a request of the load test failed or it was stopped midway.

    With `once` it ends by itself; otherwise it stays up until Ctrl-C, SIGTERM or SIGHUP, which then count as success. The
    bundle is written to `out` (`demo-bundle` by default), stays there, and is replaced by the next run. Raises ConfigError
    before any long work if the port is in use or a package of the demo is missing, and OutputExistsError if something else
    exists at `out`. `parts` are the builder and the server
    to use, those of mlrf by default.
    """
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the demo needs {', '.join(missing)}: pip install 'mlrf[demo]'")
    for name, value in (("workers", workers), ("rate", rate), ("seconds", seconds)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, not {value}")
    require_free_port(port)
    out = out or DEFAULT_OUT
    try:
        check_output(out, force=True)
    except OutputExistsError as error:
        raise OutputExistsError(
            f"{out} exists and is not a bundle, so the demo does not replace it; choose another directory with -o",
            path=str(out),
        ) from error

    from mlrf.demo.steps import DemoOptions, DemoRun  # noqa: PLC0415  after the check that what it imports is there

    console = console or Console()
    demo = DemoRun(console, parts or DemoOptions(), port=port, workers=workers, out=out)
    try:
        with _interrupted_once():
            status = demo.run_steps(rate=rate, seconds=seconds, once=once)
    except KeyboardInterrupt:
        console.print(
            "\nStopped; the server has exited." if demo.is_complete else "\nInterrupted; nothing is left running."
        )
        return 0 if demo.is_complete else 1
    return status


@contextlib.contextmanager
def _interrupted_once() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal to terminate, and ignore later ones.

    A second Ctrl-C would otherwise interrupt the cleanup and leave the server running. SIGHUP is one
    of them: the server has a session of its own, and a closed terminal ends this process alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    earlier = {number: signal.signal(number, interrupt) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
