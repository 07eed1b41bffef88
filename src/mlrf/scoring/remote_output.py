"""The output of a job in a store, as `OutputDirectory`: objects that are recorded when they are complete.

1. `_job.json` is written before the first part and identifies the job. An address below which another job's, or other objects
   and none, exist is refused.
2. A part is put together on this machine and uploaded. It counts as finished once the store has confirmed its size, and
   `_finished/` has an empty object whose name is the part's, its size and its SHA-256. That the part exists proves nothing:
   Azure shows an object while it is uploaded.
3. `_manifest.json` is written when every part is finished, with size and SHA-256 of each; the records of 2 are deleted then.
4. Rows that are not answered are written to `_quarantine/`, in an object named as their part
   and uploaded before it.
5. The name of a part contains its run, so that no job writes over what another one wrote. Stores have no locks: two processes
   of one job write the same bytes; of two jobs, the one whose `_job.json` was replaced stops before its manifest.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from mlrf.core.errors import BuildError, OutputExistsError
from mlrf.scoring.output import JOB, MANIFEST, QUARANTINE, check_same_job, recorded_run
from mlrf.scoring.remote_files import reason_of
from mlrf.scoring.remote_objects import Store

_FINISHED = "_finished"
_RECORD = re.compile(rf"{_FINISHED}/(.+)\.(\d+)-([0-9a-f]{{64}})")
_Content = tuple[int, str]
"""The size of a part in bytes, and its SHA-256 in hex."""


class RemotePart:
    """A part on this machine: `path` for its rows, `bad_path` for its quarantined rows, if there are any."""

    def __init__(self, output: RemoteOutput, name: str, work: Path) -> None:
        self._output = output
        self._name = name
        digest = hashlib.sha256(name.encode()).hexdigest()
        self.path = work / digest
        self.bad_path = work / f"{digest}-{QUARANTINE}"

    def commit(self) -> None:
        """Upload the files, and record that the part is finished; BuildError if the store does not take them."""
        try:
            self._output.upload(self._name, self.path, self.bad_path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was written."""
        self.path.unlink(missing_ok=True)
        self.bad_path.unlink(missing_ok=True)


class RemoteOutput:
    """The output of a job below an address; `run` is the digest of its identity, in hex, `kind` the format of its parts."""

    def __init__(self, address: str, run: str, kind: str) -> None:
        self.address = address
        self.run = run
        self.kind = kind
        self._store = Store(address)
        self._work = Path()
        self._existing: dict[str, int] = {}
        self._finished: dict[str, _Content] = {}

    def part_name(self, folder: str, file: int, part: int) -> str:
        """Return the name of a part, by the indices of its file and of the part in it, below the folders of its partition."""
        name = f"part-{file:05}-{part:06}-{self.run}.{self.kind}"
        return f"{folder}/{name}" if folder else name

    @contextmanager
    def opened(self, job: dict[str, Any], *, restart: bool) -> Iterator[None]:
        """Claim the address for this job; OutputExistsError if another job's, or a foreign, object is below it."""
        with _written(self.address):
            self._claim(job, restart=restart)
        with _written(f"the directory for temporary files {tempfile.gettempdir()}"):
            work = tempfile.TemporaryDirectory(prefix="mlrf-score-")
        with work as path:
            self._work = Path(path)
            yield

    def has(self, name: str) -> bool:
        """Whether a part is finished; OutputExistsError if its object was changed since."""
        if name not in self._finished or name not in self._existing:
            return False
        if self._existing[name] != self._finished[name][0]:
            raise OutputExistsError(
                f"{self.address}/{name}: is not what this job wrote; delete it, and the part is scored again"
            )
        return True

    @contextmanager
    def part(self, name: str) -> Iterator[RemotePart]:
        """Yield a part to write to, which is removed if the block ends with an error, and is not finished before `commit`."""
        part = RemotePart(self, name, self._work)
        try:
            with _written(str(self._work)):
                yield part
        except BaseException:
            part.discard()
            raise

    def upload(self, name: str, path: Path, bad_path: Path) -> None:
        """Upload a part and its quarantined rows, if there are any, and record that it is finished."""
        bad_name = f"{QUARANTINE}/{name}"
        with _written(f"{self.address}/{name}"):
            if bad_path.exists():
                self._upload_file(bad_name, bad_path)
            elif bad_name in self._existing:
                self._store.delete(bad_name)  # of an earlier attempt at this part
            size, digest = self._upload_file(name, path)
            self._store.write(f"{_FINISHED}/{name}.{size}-{digest}", b"")
        self._existing[name] = size
        self._finished[name] = size, digest

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, after every part."""
        parts = [_with_content(each, *self._finished[each["name"]]) for each in manifest["parts"]]
        with _written(f"{self.address}/{MANIFEST}"):
            self._check_claim()
            self._store.write(MANIFEST, _json({**manifest, "parts": parts}))
            if any(name.startswith(f"{_FINISHED}/") for name in self._store.sizes()):
                self._store.delete_folder(_FINISHED)

    def _upload_file(self, name: str, path: Path) -> _Content:
        with pa.memory_map(str(path)) as file:
            content = file.read_buffer()
            self._store.write(name, content)
            return content.size, hashlib.sha256(content).hexdigest()

    def _claim(self, job: dict[str, Any], *, restart: bool) -> None:
        if self._store.is_object():
            raise OutputExistsError(f"{self.address}: is an object, not a folder; choose another --out")
        self._existing = self._store.sizes()
        earlier = self._earlier_run()
        if earlier is None and [name for name in self._existing if name != JOB]:
            raise OutputExistsError(
                f"{self.address}: contains objects that `mlrf score` did not write; choose an address without any"
            )
        check_same_job(self.address, earlier, self.run, restart=restart)
        if earlier is not None and restart:
            self._delete(earlier)
        if earlier != self.run or restart:
            self._store.write(JOB, _json({"run": self.run, **job}))
            self._check_claim()
        self._finished = self._recorded()

    def _check_claim(self) -> None:
        if self._earlier_run() != self.run:
            raise OutputExistsError(f"{self.address}: another job writes to it too; choose another --out")

    def _earlier_run(self) -> str | None:
        """Return the run of the job's record; None if there is no record, or one that was not written to its end."""
        content = self._store.read(JOB)
        return recorded_run(content, f"{self.address}/{JOB}") if content else None

    def _recorded(self) -> dict[str, _Content]:
        """Return the parts that are finished: of the manifest, if the job has ended, and those of the records."""
        manifest = self._store.read(MANIFEST) if MANIFEST in self._existing else None
        parts = msgspec.json.decode(manifest)["parts"] if manifest else []
        finished = {each["name"]: (each["bytes"], each["sha256"]) for each in parts}
        found = filter(None, map(_RECORD.fullmatch, self._existing))
        return finished | {each[1]: (int(each[2]), each[3]) for each in found}

    def _delete(self, run: str) -> None:
        """Delete what the earlier job wrote, its record last: after a kill in between, the deletion can be repeated."""
        own = re.compile(rf"(.+/)?part-\d+-\d+-{re.escape(run)}\.[^/]+")
        names = [MANIFEST, *(name for name in self._existing if own.fullmatch(name))]
        for name in names:
            if self._existing.pop(name, None) is not None:
                self._store.delete(name)


def _with_content(part: dict[str, Any], size: int, digest: str) -> dict[str, Any]:
    return {**part, "bytes": size, "sha256": digest}


@contextmanager
def _written(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BuildError(
            f"{name} cannot be written: {error.strerror or reason_of(error)}; finished parts are kept"
        ) from error


def _json(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
