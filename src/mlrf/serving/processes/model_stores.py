"""Models from stores at the start of a server: starts the fetcher, and replaces the addresses by its local mirrors.

1. The fetcher gets the environment as it is. This process then executes itself again without credentials; its id stays.
2. The start waits until each store has a version in the cache, fetched now or earlier: a server that has one starts although
   its store is down. Without one it ends after `--store-timeout` with exit status 3.
3. From then on the mirrors are repositories like any other, and the fetcher's reports are read once a second.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mlrf.core.errors import BundleError
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.state_folder import make_state_folder
from mlrf.stores.address import Address, is_address, mirror_path, parse_address
from mlrf.stores.report import FetcherTask, StoreReport

_ADOPTED = "_MLRF_STORE_REPORTS"
"""The variable in which the descriptor of the fetcher's reports is handed to the process that executes itself again."""
_SECRET_PREFIXES = ("AWS_", "MLFLOW_", "AZURE_", "GOOGLE_", "BOTO_", "REGISTRY_", "DOCKER_")
"""Prefixes of the variables that only the fetcher gets."""
_REPORT_BYTES = 1 << 16


class ModelStores:
    """The stores that a server follows, and the reports of the process that does."""

    def __init__(self, addresses: Mapping[Path, Address], cache: Path, reports: int | None) -> None:
        self._reports = reports
        self._unread = b""
        self.mirrors = {path: mirror_path(address, cache) for path, address in addresses.items()}
        """By path in the settings, the repository that is served in place of the address."""
        self.last = StoreReport(reports is None, reports is None)

    def look(self) -> bool:
        """Read new reports; return whether all stores could be followed at the last look, or there is none."""
        while self._reports is not None and select.select([self._reports], [], [], 0)[0]:
            read = os.read(self._reports, _REPORT_BYTES)
            if not read:  # the fetcher was killed
                os.close(self._reports)
                self._reports = None
                self.last = StoreReport(up=False, ready=self.last.ready, reason="the fetcher ended; restart the server")
                break
            *lines, self._unread = (self._unread + read).split(b"\n")
            for line in lines:
                self.last = msgspec.json.decode(line, type=StoreReport)
        return self.last.up

    def wait(self, limit_s: float) -> None:
        """Wait until each store has a version in the cache; BundleError if that takes longer than the limit."""
        deadline_s = time.monotonic() + limit_s
        while self.look() or not self.last.ready:
            left_s = deadline_s - time.monotonic()
            if self.last.ready:
                return
            if self._reports is None or left_s <= 0:
                reason = self.last.reason or "no answer"
                raise BundleError(f"no model could be fetched within {limit_s:g} s (--store-timeout): {reason}")
            select.select([self._reports], [], [], left_s)


def open_stores(settings: ServeSettings) -> ModelStores:
    """Return the stores that the settings name, with their fetcher started.

    Does not return where it starts the fetcher: this process executes itself again, and comes here a second time.
    """
    addresses = store_addresses(settings)
    if not addresses:
        return ModelStores({}, settings.state_dir, None)
    adopted = os.environ.pop(_ADOPTED, "")
    if not adopted:
        _start_fetcher(settings, list(addresses.values()))
    reports = int(adopted)
    os.set_inheritable(reports, False)
    return ModelStores(addresses, settings.state_dir, reports)


def store_addresses(settings: ServeSettings) -> dict[Path, Address]:
    """Return the address that each path of the settings holds, without those that are paths."""
    return {path: parse_address(path) for path in settings.bundles if is_address(path)}


def _start_fetcher(settings: ServeSettings, addresses: list[Address]) -> None:
    import subprocess  # noqa: PLC0415  most servers have no store

    make_state_folder(settings.state_dir, "fetched models")
    read, write = os.pipe()
    os.set_blocking(write, False)
    os.set_inheritable(read, True)
    task = FetcherTask(
        [each.text for each in addresses], str(settings.state_dir), settings.store_poll_s, settings.log_level, write
    )
    fetcher = subprocess.Popen(
        [sys.executable, "-m", "mlrf.serving.processes.store_fetcher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=(write,),
        start_new_session=True,
    )
    assert fetcher.stdin is not None  # noqa: S101  it is a pipe
    fetcher.stdin.write(msgspec.json.encode(task))
    fetcher.stdin.close()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET_PREFIXES)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, _ADOPTED: str(read)})  # noqa: S606
