"""The process that fetches models from stores: the only one of a server that has the stores' credentials.

The first process starts it with the whole environment, and then executes itself again without the variables that hold
credentials: neither it nor a worker has them, not even in /proc. The fetcher ends with the first process. A child of its own
does the work: a crash of a store's library costs the child, which is started again.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from mlrf.core.parent_death import die_with_parent
from mlrf.serving.telemetry.logs import Log
from mlrf.stores.address import Address, parse_address
from mlrf.stores.mirror import Mirror
from mlrf.stores.open_store import open_reader
from mlrf.stores.report import FetcherTask, StoreReport
from mlrf.stores.time_limit import LimitedReader
from mlrf.stores.watch import StoreWatch

_LONGEST_WAIT_S = 10.0
_LONGEST_ANSWER_S = 30.0
"""Seconds for a small file; a slow store holds up the others for so long."""
_MOST_PAUSE_S = 30.0


def main() -> None:
    """Fetch until the first process ends."""
    die_with_parent(os.getppid())
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=FetcherTask)
    log = Log(task.log_level)
    pause_s = 1.0
    while True:
        keeper = os.getpid()
        if (child := os.fork()) == 0:
            die_with_parent(keeper)
            _watch(task, log)
        _, status = os.waitpid(child, 0)
        log.error("store fetcher ended", status=os.waitstatus_to_exitcode(status), delay_s=pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _MOST_PAUSE_S)


def _watch(task: FetcherTask, log: Log) -> None:
    # One wait may not take longer than a pause, or a store that hangs would delay the next look.
    limit_s = min(_LONGEST_WAIT_S, max(1.0, task.pause_s))

    def mirror(address: Address) -> Mirror:
        def open_limited() -> LimitedReader:
            return LimitedReader(lambda: open_reader(address, limit_s), address.text, _LONGEST_ANSWER_S)

        return Mirror(address, Path(task.cache), open_limited)

    def report(found: StoreReport) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(task.reports, msgspec.json.encode(found) + b"\n")

    StoreWatch([mirror(parse_address(each)) for each in task.addresses], task.pause_s, log, report).run()


if __name__ == "__main__":
    main()
