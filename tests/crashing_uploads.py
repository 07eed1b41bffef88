"""Jobs of `mlrf score` into a store that are killed at each step that changes it, in child processes; run by test_remote_output.py.

    python crashing_uploads.py FOLDER ADDRESS STRIDE

FOLDER has a bundle `b`, inputs `in` and an empty directory `work`; nothing is below ADDRESS. Every STRIDEth step is one to be killed at.
Prints the last step as JSON. This process itself never opens the store: its SDK's threads would not be in the children.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from pathlib import Path
from threading import Lock
from typing import Any, Self

from crashing_scores import in_child, log_parts
from mlrf.scoring import remote_objects, score
from mlrf.scoring.remote_objects import Store


class CrashingFiles:
    """A file system that kills this process before a step: a stream is opened, written or closed, or something is deleted."""

    def __init__(self, files: Any, number: int) -> None:
        self._files = files
        self._number = number
        self._done = 0
        self._counting = Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("delete"):
            self.step()
        return getattr(self._files, name)

    def open_output_stream(self, path: str) -> CrashingStream:
        self.step()
        return CrashingStream(self, self._files.open_output_stream(path))

    def step(self) -> None:
        with self._counting:
            self._done += 1
            if self._done == self._number:
                os.kill(os.getpid(), signal.SIGKILL)


class CrashingStream:
    """A stream of `CrashingFiles`."""

    def __init__(self, files: CrashingFiles, stream: Any) -> None:
        self._files = files
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._files.step()
        self._stream.close()

    def write(self, content: Any) -> None:
        self._files.step()
        self._stream.write(content)


def crash_at(number: int) -> None:
    """Kill this process at a step of the store."""
    real = remote_objects.file_system
    remote_objects.file_system = lambda address: CrashingFiles(real(address), number)


def crashes(folder: Path, address: str, stride: int) -> int:
    """Crash at each step, continue, and compare; return the last step."""

    def run(out: str) -> None:
        score(folder / "b", folder / "in", out, keep=("id",), workers=1, on_bad_row="quarantine")

    def continued(out: str, name: str) -> tuple[dict[str, bytes], set[str]]:
        """What is in the store after the job has gone on, and the parts that were computed again though they were recorded."""
        found, log = folder / f"work/{name}.pickle", folder / f"work/{name}.log"

        def work() -> None:
            store = Store(out)
            recorded = {each.removeprefix("_finished/").rpartition(".")[0] for each in store.sizes()}
            log_parts(log)
            run(out)
            content = {each: store.read(each) for each in store.sizes()}
            found.write_bytes(pickle.dumps((content, recorded)))

        in_child(work)
        content, recorded = pickle.loads(found.read_bytes())  # noqa: S301
        return content, recorded & set(log.read_text().split() if log.exists() else ())

    expected, _ = continued(f"{address}/whole", "whole")
    for number in range(stride, 10_000, stride):
        out = f"{address}/{number}"
        status = in_child(lambda: (crash_at(number), run(out)))  # noqa: B023  called at once
        content, again = continued(out, str(number))
        assert content == expected, f"after a crash at step {number}"
        assert not again, f"computed again after a crash at step {number}: {again}"
        if status == 0:
            return number - 1
    raise AssertionError("the job never ends")


if __name__ == "__main__":
    print(json.dumps(crashes(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
