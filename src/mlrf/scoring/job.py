"""A scoring job: files of tables are scored to parts, in the order of the input, by several threads.

1. The job's identity is the model's version, the inputs and the options that change rows; its digest is the run, which
   every part contains. Workers, progress and what is done with invalid rows are not part of it, so that a job may continue
   with other values.
2. A part is finished once it has its final name; repeating the call scores only the rest, and gives the same bytes.
3. Parts are read and written in batches, and only some are open at a time: memory does not grow with the input.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pyarrow as pa

from mlrf.core.errors import ConfigError
from mlrf.core.leniency import UnknownCategories
from mlrf.scoring.bad_rows import OnBadRow
from mlrf.scoring.contribution_columns import ExplanationForm
from mlrf.scoring.formats import PART_FORMATS, PartFormat
from mlrf.scoring.job_output import JobOutput, check_apart, job_output, output_location
from mlrf.scoring.memory_estimate import fitting_workers
from mlrf.scoring.memory_pool import system_memory_pool
from mlrf.scoring.part_writer import PartCounts, PartWriter
from mlrf.scoring.parts import Part
from mlrf.scoring.plan import Plan, make_plan

_RUN_DIGITS = 16
_LAYOUT = 2
"""How inputs are cut into parts and parts are written: another number if a job cannot go on after its earlier parts."""
OnRows = Callable[[int, int], None]
OnStart = Callable[[int, int], None]
_Scored = tuple[PartCounts, Future[None]]


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a job."""

    run: str
    rows: int
    """Rows of all parts."""
    parts: int
    parts_scored: int
    """Parts scored by this call; the others existed."""
    bad_rows: int = 0
    """Rows without an answer in the parts scored by this call."""


def score(
    bundle: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    keep: Sequence[str] | Literal["all"] = (),
    columns: Sequence[str] | None = None,
    explain: int | Literal["all"] | None = None,
    explain_form: ExplanationForm = "wide",
    format: PartFormat = "parquet",  # noqa: A002  the option's name
    unknown_categories: UnknownCategories = "refuse",
    on_bad_row: OnBadRow = "stop",
    workers: int | None = None,
    restart: bool = False,
    memory_limit_mb: int | None = None,
    on_start: OnStart | None = None,
    on_rows: OnRows | None = None,
    caller: Literal["python", "command line"] = "python",
) -> Summary:
    """Score files of tables into parts in a directory, or below an address; a killed call continues when it is repeated.

    `inputs` are Parquet, Arrow IPC, CSV and JSON lines files, directories, globs, and `s3://`, `gs://` and `abfs://` addresses
    of them. `keep` names columns to pass through; `columns`, `explain` and `explain_form` as of `Scorer`. An invalid row stops
    the job, is written to `_quarantine`, or has nulls as its answer ("null"), as `on_bad_row` says. `workers` threads (default:
    the processors) each score a part; there are fewer if they would take more memory than is available or than
    `memory_limit_mb`. `on_start` is called with the number of workers and an estimate of their memory in bytes, `on_rows` with
    the number of finished rows and of all rows, which is an estimate for text. `restart` deletes the output of another job in
    `out`. OutputExistsError if `out` contains another job or foreign files,
    InvalidRequestError names the file, row and feature of an invalid value.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    if format not in PART_FORMATS:
        raise ConfigError(f"the format is one of {', '.join(PART_FORMATS)}, not {format!r}")
    target = output_location(out)
    plan = make_plan(
        bundle,
        inputs,
        keep=keep,
        unknown_categories=unknown_categories,
        columns=columns,
        explain=explain,
        explain_form=explain_form,
        caller=caller,
        is_partitioned=True,
        output=target,
    )
    workers = fitting_workers(
        workers or len(os.sched_getaffinity(0)),
        plan.estimated_bytes,
        None if memory_limit_mb is None else memory_limit_mb << 20,
    )
    check_apart(plan, target)
    job = plan.identity() | {"format": format, "layout": _LAYOUT, "pyarrow": pa.__version__}
    run = hashlib.sha256(msgspec.json.encode(job)).hexdigest()[:_RUN_DIGITS]
    output = job_output(target, run, format)
    with output.opened(job, restart=restart), system_memory_pool():
        if on_start is not None:
            on_start(workers, plan.estimated_bytes(workers))
        return _Job(plan, output, on_bad_row, on_rows).run(workers)


class _Job:
    """Scores the parts that are not finished, with several threads, and writes the manifest.

    One more thread syncs parts to the disk, while the others score the next.
    """

    def __init__(self, plan: Plan, output: JobOutput, on_bad_row: OnBadRow, on_rows: OnRows | None) -> None:
        self._plan = plan
        self._output = output
        self._writer = PartWriter(plan.scorer, output, on_bad_row)
        self._on_rows = on_rows
        self._listed: list[dict[str, Any]] = []
        self._done = self._scored = self._bad_rows = 0
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._commits: deque[Future[None]] = deque()

    def run(self, workers: int) -> Summary:
        """Return what was done, once every part is finished."""
        pending: list[Future[_Scored]] = []
        pool = ThreadPoolExecutor(workers, thread_name_prefix="score")
        try:
            for name, part in self._named_parts():
                if self._output.has(name):
                    self._done += part.n_rows
                    continue
                # One more than there are workers, so that none waits while the next part is read.
                while len(pending) > workers:
                    pending = self._collect(pending)
                pending.append(pool.submit(self._score, name, part))
            while pending:
                pending = self._collect(pending)
        finally:
            pool.shutdown(cancel_futures=True)
            self._committer.shutdown()  # what was written is kept, also if another part failed
        self._check_commits(0)
        return self._finish()

    def _score(self, name: str, part: Part) -> _Scored:
        counts, unfinished = self._writer.write(name, part)
        return counts, self._committer.submit(unfinished.commit)

    def _check_commits(self, most: int) -> None:
        """Wait until at most so many parts are not finished; BuildError if one could not be."""
        while len(self._commits) > most:
            self._commits.popleft().result()

    def _named_parts(self) -> Any:
        for index, part in self._plan.parts():
            name = self._output.part_name(part.file.path.partition_folder, index, part.number)
            self._listed.append({"name": name, "rows": part.n_rows, "input": str(part.file)})
            yield name, part

    def _collect(self, pending: list[Future[_Scored]]) -> list[Future[_Scored]]:
        """Wait for a part, and return those that are still to be waited for, in the order of the input."""
        self._report()
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for each in filter(finished.__contains__, pending):  # of two that failed, the first is reported
            counts, commit = each.result()
            self._commits.append(commit)
            self._done += counts.rows
            self._bad_rows += counts.bad_rows
            self._scored += 1
        self._check_commits(len(pending))
        return [each for each in pending if each not in finished]

    def _report(self) -> None:
        if self._on_rows is not None:
            self._on_rows(self._done, max(self._done, self._plan.n_rows))

    def _finish(self) -> Summary:
        self._report()
        rows = sum(each["rows"] for each in self._listed)
        run, version = self._output.run, self._plan.scorer.version
        self._output.finish({"run": run, "model": version, "rows": rows, "parts": self._listed})
        return Summary(run, rows, len(self._listed), self._scored, self._bad_rows)
