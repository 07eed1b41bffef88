"""The output directory of a job: parts that are complete or absent, a record of the job, and a manifest at its end.

1. `_job.json` is written before the first part and identifies the job. A directory with another job's, or with other files and
   none, is refused: nothing is overwritten.
2. A part is written under a hidden name, synced, and renamed to its final name, never over another file. It
   counts as finished from then on.
3. `_manifest.json` is written when every part is finished.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.atomic_files import RENAME_NOREPLACE, is_abandoned, rename, replace_file, sync_directory
from mlrf.core.errors import BuildError, ConfigError, OutputExistsError

JOB, MANIFEST = "_job.json", "_manifest.json"
RUN_KEY = b"mlrf.run"
_WRITING = ".writing-"


class OutputDirectory:
    """The output of a job; `run` is the digest of its identity, in hex."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run

    @contextmanager
    def opened(self, job: dict[str, Any], *, restart: bool) -> Iterator[None]:
        """Lock the directory for this job; OutputExistsError if it contains another job's, or a foreign, file."""
        with _written(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputExistsError(
                    f"{self.path}: another process is writing to it; try again when it has finished"
                ) from error
            with _written(self.path):
                self._claim(job, restart=restart)
            yield
        finally:
            os.close(handle)

    def has(self, name: str) -> bool:
        """Whether a part is finished; OutputExistsError if a file with its name belongs to another job."""
        path = self.path / name
        if not os.path.lexists(path):
            return False
        if _run_of(path) != self.run:
            raise OutputExistsError(f"{path}: is not a file of this job; move it away, or choose another --out")
        return True

    @contextmanager
    def part(self, name: str) -> Iterator[Path]:
        """Yield a path to write a part to; it is synced and gets its final name when the block ends without an error."""
        work = self.path / f".{name}{_WRITING}{os.getpid()}"
        try:
            with _written(self.path / name):
                yield work
                with work.open("rb") as file:
                    os.fsync(file.fileno())
                rename(work, self.path / name, RENAME_NOREPLACE)
                sync_directory(self.path)
        finally:
            work.unlink(missing_ok=True)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, after every part."""
        with _written(self.path / MANIFEST):
            replace_file(self.path / MANIFEST, _json(manifest))

    def _claim(self, job: dict[str, Any], *, restart: bool) -> None:
        earlier = self._earlier_run()
        entries = [entry.name for entry in os.scandir(self.path)]
        for name in entries:
            if name.startswith(".") and _WRITING in name and is_abandoned(name.rpartition("-")[2]):
                (self.path / name).unlink()
                entries = [each for each in entries if each != name]
        if earlier is None and entries:
            raise OutputExistsError(
                f"{self.path}: contains files that `mlrf score` did not write; choose an empty directory"
            )
        if earlier is not None and earlier != self.run and not restart:
            raise OutputExistsError(
                f"{self.path}: contains the output of another job, with another model, input or option; use "
                "--restart to delete it and start again"
            )
        if earlier is not None and restart:
            self._delete(earlier, entries)
        if earlier != self.run or restart:
            replace_file(self.path / JOB, _json({"run": self.run, **job}))

    def _earlier_run(self) -> str | None:
        try:
            return str(msgspec.json.decode((self.path / JOB).read_bytes())["run"])
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise OutputExistsError(
                f"{self.path / JOB}: is not a job file that `mlrf score` wrote; choose another --out"
            ) from error

    def _delete(self, run: str, entries: list[str]) -> None:
        """Delete what the earlier job wrote, its record last: after a kill in between, the deletion can be repeated."""
        (self.path / MANIFEST).unlink(missing_ok=True)
        for name in entries:
            if name.endswith(".parquet") and _run_of(self.path / name) == run:
                (self.path / name).unlink()
        sync_directory(self.path)


def _run_of(path: Path) -> str | None:
    try:
        found = (pq.read_metadata(path).metadata or {}).get(RUN_KEY)
    except (pa.ArrowException, OSError):
        return None
    return None if found is None else str(found.decode())


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise OutputExistsError(
                f"{path} already exists and is not a file of this job; choose another --out"
            ) from error
        if isinstance(error, NotADirectoryError):
            raise ConfigError(f"{path}: is not a directory; give a directory for the parts") from error
        raise BuildError(f"{path} cannot be written: {error.strerror or error}; finished parts are kept") from error


def _json(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
