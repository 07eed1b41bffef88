"""A process that imports a `reference` module and forks for each line of standard input; `tests/forked_references.py` starts it.

    python reference_server.py MODULE UNUSED

A line is a JSON object: the `arguments` of `reference_process`, the file for `stderr`, and the `folder` to run in. For each, the id
of the fork and then its exit status are printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback

from mlrf.builder.parity import reference_process


def _run(request: dict[str, str], server: int) -> None:
    """Run `reference_process` in this fork, and end it."""
    for name, number in ((request["stderr"], 2), (os.devnull, 1)):
        os.dup2(os.open(name, os.O_WRONLY), number)
    status = 1
    try:
        os.chdir(request["folder"])
        status = reference_process.main([str(server) if each == "PARENT" else each for each in request["arguments"]])
    except BaseException:  # noqa: BLE001  printed, in a process that must not return
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def serve(module: str, unused: str) -> None:
    """Import the module and answer requests until standard input ends."""
    # What cannot be imported is imported again in the fork, which reports it.
    with contextlib.suppress(ImportError, OSError):
        reference_process.import_without(module, [name for name in unused.split(",") if name])
    server = os.getpid()
    for line in sys.stdin.buffer:
        if (pid := os.fork()) == 0:
            _run(json.loads(line), server)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
