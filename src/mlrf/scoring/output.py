"""The output directory of a job: parts that are complete or absent, a record of the job, and a manifest at its end.

1. `_job.json` is written before the first part and identifies the job. A directory with another job's, or with other files and
   none, is refused: nothing is overwritten.
2. A part is written under a hidden name, synced, and renamed to its final name, never over another file. It
   counts as finished from then on.
3. `_manifest.json` is written when every part is finished.
4. Rows that are not answered are written to `_quarantine/`, in a file named as their part and
   written before it.
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

from mlrf.core.atomic_files import RENAME_NOREPLACE, is_abandoned, rename, replace_file, sync_directory
from mlrf.core.errors import BuildError, ConfigError, OutputExistsError
from mlrf.scoring.formats import run_of

JOB, MANIFEST, QUARANTINE = "_job.json", "_manifest.json", "_quarantine"
_WRITING = ".writing-"


class LocalPart:
    """A part under hidden names: `path` for its rows, `bad_path` for its quarantined rows, if there are any."""

    def __init__(self, final: Path, quarantined: Path) -> None:
        self._final = final
        self._quarantined = quarantined
        self.path = _work_path(final)
        self.bad_path = _work_path(quarantined)

    def commit(self) -> None:
        """Sync the files and give them their final names, the part last; it is removed if that fails."""
        try:
            with _written(self._final):
                if self.bad_path.exists():
                    _sync_file(self.bad_path)
                    self.bad_path.replace(self._quarantined)
                    sync_directory(self._quarantined.parent)
                else:
                    self._quarantined.unlink(missing_ok=True)  # of an earlier attempt at this part
                _sync_file(self.path)
                rename(self.path, self._final, RENAME_NOREPLACE)
                sync_directory(self._final.parent)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was written."""
        self.path.unlink(missing_ok=True)
        self.bad_path.unlink(missing_ok=True)


class OutputDirectory:
    """The output of a job; `run` is the digest of its identity, in hex, `kind` the format of its parts."""

    def __init__(self, path: Path, run: str, kind: str = "parquet") -> None:
        self.path = path
        self.run = run
        self.kind = kind

    def part_name(self, folder: str, file: int, part: int) -> str:
        """Return the name of a part, by the indices of its file and of the part in it, below the folders of its partition."""
        # CSV has no metadata that could say which run wrote it.
        run = f"-{self.run}" if self.kind == "csv" else ""
        name = f"part-{file:05}-{part:06}{run}.{self.kind}"
        return f"{folder}/{name}" if folder else name

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
        if not self._is_own(path, self.run):
            raise OutputExistsError(f"{path}: is not a file of this job; move it away, or choose another --out")
        return True

    @contextmanager
    def part(self, name: str) -> Iterator[LocalPart]:
        """Yield a part to write to, which is removed if the block ends with an error, and is not finished before `commit`."""
        part = LocalPart(self.path / name, self.path / QUARANTINE / name)
        try:
            with _written(self.path / name):
                _make_folder((self.path / name).parent)
                yield part
        except BaseException:
            part.discard()
            raise

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, after every part."""
        with _written(self.path / MANIFEST):
            replace_file(self.path / MANIFEST, _json(manifest))

    def _claim(self, job: dict[str, Any], *, restart: bool) -> None:
        earlier = self._earlier_run()
        for path in self._files():
            if path.name.startswith(".") and _WRITING in path.name and is_abandoned(path.name.rpartition("-")[2]):
                path.unlink()
        if earlier is None and any(self.path.iterdir()):
            raise OutputExistsError(
                f"{self.path}: contains files that `mlrf score` did not write; choose an empty directory"
            )
        check_same_job(self.path, earlier, self.run, restart=restart)
        if earlier is not None and restart:
            self._delete(earlier)
        if earlier != self.run or restart:
            replace_file(self.path / JOB, _json({"run": self.run, **job}))

    def _files(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if not path.is_dir()]

    def _is_own(self, path: Path, run: str) -> bool:
        kind = path.suffix.removeprefix(".")
        return path.stem.endswith(f"-{run}") if kind == "csv" else run_of(path, kind) == run

    def _earlier_run(self) -> str | None:
        try:
            content = (self.path / JOB).read_bytes()
        except FileNotFoundError:
            return None
        return recorded_run(content, self.path / JOB)

    def _delete(self, run: str) -> None:
        """Delete what the earlier job wrote, its record last: after a kill in between, the deletion can be repeated."""
        (self.path / MANIFEST).unlink(missing_ok=True)
        for path in self._files():
            if self._is_own(path, run):
                path.unlink()
        folders = [path for path in self.path.rglob("*") if path.is_dir()]
        for folder in sorted(folders, reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        sync_directory(self.path)


def recorded_run(content: bytes, name: object) -> str:
    """Return the run of a `_job.json`; OutputExistsError if no job wrote it."""
    try:
        return str(msgspec.json.decode(content)["run"])
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise OutputExistsError(f"{name}: is not a job file that `mlrf score` wrote; choose another --out") from error


def check_same_job(name: object, earlier: str | None, run: str, *, restart: bool) -> None:
    """Raise OutputExistsError if an output contains another job's, unless the job is to start again."""
    if earlier not in (None, run) and not restart:
        raise OutputExistsError(
            f"{name}: contains the output of another job, with another model, input or option; use "
            "--restart to delete it and start again"
        )


def _work_path(final: Path) -> Path:
    return final.with_name(f".{final.name}{_WRITING}{os.getpid()}")


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


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
