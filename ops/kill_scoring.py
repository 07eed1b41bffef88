"""Kills `mlrf score` at random moments over jobs of 64 parts, and checks what it continues with.

    .venv/bin/python ops/kill_scoring.py [--kills 200] [--seed 0] [--parts 64] [--rows 2000]

After each kill the same command runs again. Once a job is complete, its output must be the bytes of a job that was never killed, and
no part may have been computed again after it had its final name. Takes some minutes; prints a line every 20 kills.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import mlrf.cli.app  # noqa: F401  otherwise each child would import it
from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.scoring.part_writer import PartWriter


class Runs:
    """Runs of one command, in child processes."""

    def __init__(self, folder: Path, parts: int, rows: int) -> None:
        self.folder = folder
        self.parts = parts
        write_tree_bundle(folder / "b", schema=NUMBERS)
        values = np.random.default_rng(0).normal(size=(parts * rows, 3))
        values[::997, 1] = np.inf
        table = pa.table({"id": np.arange(len(values)), **{f"x{i}": values[:, i] for i in range(3)}})
        (folder / "in").mkdir()
        for index in range(4):
            each = table.slice(index * len(table) // 4, len(table) // 4)
            pq.write_table(each, folder / f"in/{index}.parquet", row_group_size=rows)

    def start(self, out: Path, log: Path) -> int:
        """Start the command in a child process and return its id; the parts that it computes are noted in `log`."""
        if (pid := os.fork()) != 0:
            return pid
        real = PartWriter.write

        def write(writer, name, part):
            with log.open("a") as file:
                file.write(name + "\n")
            return real(writer, name, part)

        PartWriter.write = write
        arguments = ["score", str(self.folder / "b"), str(self.folder / "in"), "-o", str(out), "--keep=id"]
        with contextlib.redirect_stdout(io.StringIO()):
            os._exit(main([*arguments, "--on-bad-row=quarantine", "--workers=2"]))

    def whole(self, out: Path, log: Path) -> None:
        """Run the command to its end."""
        assert os.waitstatus_to_exitcode(os.waitpid(self.start(out, log), 0)[1]) == 0

    def killed(self, out: Path, log: Path, n_parts: int, after_s: float) -> bool:
        """Kill the command some seconds after it has finished a number of parts; return whether it was still running."""
        pid = self.start(out, log)
        enough = len(finished(out)) + n_parts
        while len(finished(out)) < enough and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.0005)
        time.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        return status != 0


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def finished(out: Path) -> set[str]:
    return {path.name for path in out.glob("part-*")}


def kill_runs(folder: Path, kills: int, *, seed: int = 0, parts: int = 64, rows: int = 2000, report=print) -> int:
    """Kill runs at random moments; return the number of jobs that came to their end. AssertionError for a wrong output."""
    runs = Runs(folder, parts, rows)
    log = folder / "log"
    runs.whole(folder / "whole", log)
    expected = content(folder / "whole")
    assert len(finished(folder / "whole")) == parts
    chance = random.Random(seed)
    done = jobs = 0
    out = folder / "out"
    while done < kills or out.exists():
        before = finished(out)
        log.unlink(missing_ok=True)
        if done >= kills:
            runs.whole(out, log)
            ended = True
        else:
            ended = not runs.killed(out, log, chance.randint(0, parts // 4), chance.uniform(0, 0.005))
            done += not ended
            if not done % 20 and not ended:
                report(
                    f"{done} kills, {jobs} jobs complete, {len(finished(out))} of {parts} parts of the next", flush=True
                )
        again = before & set(log.read_text().split() if log.exists() else ())
        assert not again, f"computed again: {sorted(again)}"
        if ended:
            assert content(out) == expected, "the output differs from that of a job that was never killed"
            shutil.rmtree(out)
            jobs += 1
    return jobs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", type=int, default=64)
    parser.add_argument("--rows", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = kill_runs(Path(temporary), given.kills, seed=given.seed, parts=given.parts, rows=given.rows)
    print(
        f"{given.kills} kills over jobs of {given.parts} parts: {found} jobs complete, all with equal bytes, no part computed twice"
    )
