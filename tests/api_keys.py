"""Keys in tests: `mlrf keys` run in this process, and the header line that sends a key."""

from __future__ import annotations

import contextlib
import io

from mlrf.cli.app import run
from mlrf.core.errors import ConfigError


def mlrf_keys(*arguments):
    """Run the command in this process, which has imported its modules; return its status and output."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            status = run(["keys", *map(str, arguments)])
    except ConfigError:
        status = 2
    return status, output.getvalue().strip()


def bearer(key):
    return [f"Authorization: Bearer {key}"]
