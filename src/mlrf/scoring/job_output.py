"""`JobOutput`: where the parts of a job go, a directory of this machine or an address of a store."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from mlrf.core.errors import ConfigError
from mlrf.core.local_path import scheme_of
from mlrf.scoring.output import OutputDirectory
from mlrf.scoring.plan import Plan
from mlrf.scoring.remote_files import address_of
from mlrf.scoring.remote_output import RemoteOutput


class UnfinishedPart(Protocol):
    """A part in files of this machine: `path` for its rows, `bad_path` for its quarantined rows."""

    path: Path
    bad_path: Path

    def commit(self) -> None:
        """Finish the part; BuildError if it cannot be written, and then it is removed."""
        ...


class JobOutput(Protocol):
    """The parts of a job; `run` is the digest of its identity, in hex, `kind` the format of the parts."""

    run: str
    kind: str

    def part_name(self, folder: str, file: int, part: int) -> str:
        """Return the name of a part, by the indices of its file and of the part in it, below the folders of its partition."""
        ...

    def opened(self, job: dict[str, Any], *, restart: bool) -> AbstractContextManager[None]:
        """Claim the output for this job; OutputExistsError if it contains another job's, or a foreign, file."""
        ...

    def has(self, name: str) -> bool:
        """Whether a part is finished."""
        ...

    def part(self, name: str) -> AbstractContextManager[UnfinishedPart]:
        """Yield a part to write to."""
        ...

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, after every part."""
        ...


def output_location(out: str | os.PathLike[str]) -> Path | str:
    """Return an absolute path, or an address in its usual form; ConfigError for an address of no store."""
    return Path(out).resolve() if scheme_of(out) is None else address_of(out)


def job_output(location: Path | str, run: str, kind: str) -> JobOutput:
    """Return the output of a job at a path or an address."""
    if isinstance(location, Path):
        return OutputDirectory(location, run, kind)
    return RemoteOutput(location, run, kind)


def check_apart(plan: Plan, location: Path | str) -> None:
    """Raise ConfigError if the output is inside the bundle, or an input inside the output."""
    if isinstance(location, Path):
        bundle = Path(plan.scorer.model.bundle.path).resolve()
        if location.is_relative_to(bundle):
            raise ConfigError(
                f"{location} is inside the bundle {bundle}, which nothing may be added to; choose another --out"
            )
        inside = [each for each in plan.inputs if Path(each.file.path.text).is_relative_to(location)]
    else:
        inside = [each for each in plan.inputs if each.file.path.text.startswith(f"{location}/")]
    if inside:
        raise ConfigError(f"{inside[0].file} is an input inside the output directory {location}; choose another --out")
