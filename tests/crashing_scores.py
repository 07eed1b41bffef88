"""Jobs of `mlrf score` that are killed at each step that changes the disk, in child processes; run by test_crashes.py.

    python crashing_scores.py FOLDER STRIDE [restart]

FOLDER has a bundle `b`, inputs `in` and an empty directory `work`. Every STRIDEth step is one to be killed at. Prints the number of
steps as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from threading import Lock

from mlrf.core import atomic_files
from mlrf.scoring import formats, output, score
from mlrf.scoring.part_writer import PartWriter

STEPS = (
    (os, "fsync"),
    (output, "rename"),
    (atomic_files, "write_file"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (formats._ParquetWriter, "write"),
    (formats._ParquetWriter, "close"),
)
"""What is counted, before each call: writes, renames, syncs, deletions, and new directories."""


os.fsync = lambda _file: None  # what a killed process has written stays, synced or not, and disks may take long


def crash_at(number: int) -> None:
    """Kill this process at a step."""
    done = [0]

    def wrapped(real):
        def call(*arguments, **options):
            step()
            return real(*arguments, **options)

        return call

    counting = Lock()  # a part is synced by one thread while another writes the next

    def step() -> None:
        with counting:
            done[0] += 1
            if done[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    for owner, name in STEPS:
        setattr(owner, name, wrapped(getattr(owner, name)))


def log_parts(path: Path) -> None:
    """Note the parts that are computed in a file."""
    real = PartWriter.write

    def write(self, name, part):
        with path.open("a") as file:
            file.write(name + "\n")
        return real(self, name, part)

    PartWriter.write = write


def in_child(work) -> int:
    """Run a function in a child process; return 0, the signal that ended it as a negative number, or raise."""
    if (pid := os.fork()) == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  reported, in a process that must not return
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), "the error is above"
    return status


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def crashes(folder: Path, stride: int, *, restart: bool) -> int:
    """Crash at each step, continue, and compare; return how many steps there were."""

    def run(out: Path, *, keep: tuple[str, ...] = ("id",)) -> None:
        score(folder / "b", folder / "in", out, keep=keep, workers=1, restart=restart, on_bad_row="quarantine")

    in_child(lambda: run(folder / "work/whole"))
    expected = content(folder / "work/whole")
    if restart:
        in_child(lambda: run(folder / "work/earlier", keep=()))
    for number in range(1, 10_000, stride):
        out, log = folder / f"work/{number}", folder / f"work/{number}.log"
        if restart:
            shutil.copytree(folder / "work/earlier", out)
        if in_child(lambda: (crash_at(number), run(out))) == 0:  # noqa: B023  called at once
            assert content(out) == expected
            return number - 1
        finished = (
            {name for name in content(out) if name.startswith("part-")} if out.exists() and not restart else set()
        )
        in_child(lambda: (log_parts(log), run(out)))  # noqa: B023
        assert content(out) == expected, f"after a crash at step {number}"
        again = set(log.read_text().split() if log.exists() else ()) & finished
        assert not again, f"computed again after a crash at step {number}: {again}"
        shutil.rmtree(out)
    raise AssertionError("the job never ends")


if __name__ == "__main__":
    print(json.dumps(crashes(Path(sys.argv[1]), int(sys.argv[2]), restart="restart" in sys.argv[3:])))
