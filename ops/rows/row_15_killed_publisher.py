"""Row 15: a publisher killed at 200 moments, and a disk that is full."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bundles import write_bundle
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.publishing import publish
from mlrf.core.repository import POINTER, ModelDirectory
from scoreboard import Finding, Row

_MOMENTS, _FULL = 200, 20


def _careless(bundle: Path, repository: Path) -> None:
    """Write in place, as a simple script would: the copy to its final path, the pointer over the old one."""
    model_directory = repository / "sample"
    shutil.rmtree(model_directory / "2", ignore_errors=True)
    (model_directory / POINTER).write_text("")
    shutil.copytree(bundle, model_directory / "2")
    (model_directory / POINTER).write_text(
        '{"number":2,"digest":"' + ModelDirectory(model_directory).version(2).digest + '","before":[1]}'
    )


def _killed_after(delay_s: float, call: Callable[[], object]) -> None:
    child = os.fork()
    if not child:
        try:
            call()
        finally:
            os._exit(0)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _filled(limit_bytes: int, call: Callable[[], object]) -> None:
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        try:
            call()
        except RepositoryError:
            os._exit(0)
        finally:
            os._exit(1)
    os.waitpid(child, 0)


def _is_valid(model_directory: ModelDirectory) -> bool:
    try:
        model_directory.read(model_directory.pointer().version)
        for number in model_directory.numbers():
            model_directory.read(model_directory.version(number))
    except BundleError:
        return False
    return True


def measure(planted: bool) -> Finding:
    """Kill the publisher, fill the disk, and check the pointer each time; with the fault, a script publishes instead."""
    bad = 0
    moving = random.Random(15)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        one, two = write_bundle(home / "one"), write_bundle(home / "two", task="ranking")
        model_directory, _ = publish(one, home / "models", allow_schema_change=True)

        def again() -> None:
            if planted:
                _careless(two, home / "models")
            else:
                publish(two, home / "models", allow_schema_change=True)

        began = time.monotonic()
        again()
        whole_s = time.monotonic() - began
        for number in range(_MOMENTS + _FULL):
            shutil.rmtree(model_directory.path)
            publish(one, home / "models", allow_schema_change=True)
            if number < _MOMENTS:
                _killed_after(moving.uniform(0, 1.5 * whole_s), again)
            else:
                _filled(moving.randrange(4000), again)
            bad += not _is_valid(model_directory)
        if not planted:
            again()
            left = sorted(path.name for path in model_directory.path.iterdir())
            bad += left != ["1", "2", POINTER]
    return Finding(f"{bad} of {_MOMENTS + _FULL} times the pointer or a version was incomplete", bad == 0)


ROW = Row(
    15,
    "publisher killed at 200 moments; disk full",
    "the published pointer is always valid",
    "a script that writes in place",
    measure,
)
