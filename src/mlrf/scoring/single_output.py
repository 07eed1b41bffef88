"""Scores inputs into one file, or a stream, in the order of their rows: `mlrf predict`, and `mlrf score --out -`."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from mlrf.core.atomic_files import sync_directory
from mlrf.core.errors import BuildError, ConfigError
from mlrf.core.leniency import UnknownCategories
from mlrf.scoring.bad_rows import OnBadRow
from mlrf.scoring.contribution_columns import ExplanationForm
from mlrf.scoring.formats import VERSION_KEY, open_writer
from mlrf.scoring.input_files import InputFile
from mlrf.scoring.job import OnRows
from mlrf.scoring.memory_pool import system_memory_pool
from mlrf.scoring.part_writer import answered, check_on_bad_row
from mlrf.scoring.parts import Part
from mlrf.scoring.plan import Plan, make_plan

SingleFormat = Literal["jsonl", "csv", "arrow", "parquet"]


def score_to(
    sink: Path | BinaryIO,
    kind: SingleFormat,
    bundle: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | InputFile,
    *,
    keep: Sequence[str] | Literal["all"] = (),
    columns: Sequence[str] | None = None,
    explain: int | Literal["all"] | None = None,
    explain_form: ExplanationForm = "wide",
    unknown_categories: UnknownCategories = "refuse",
    on_bad_row: OnBadRow = "stop",
    workers: int | None = None,
    on_rows: OnRows | None = None,
    caller: Literal["python", "command line"] = "python",
) -> int:
    """Score inputs and write the answers to a file, which replaces an existing one, or to a stream; return the number of rows.

    Arguments and errors as of `score`; BuildError if the file cannot be written, which leaves the existing one.
    """
    check_on_bad_row(on_bad_row)
    if on_bad_row == "quarantine":
        raise ConfigError(
            "invalid rows are quarantined in a directory of parts; choose stop or null for a single output"
        )
    plan = make_plan(
        bundle,
        inputs,
        keep=keep,
        unknown_categories=unknown_categories,
        columns=columns,
        explain=explain,
        explain_form=explain_form,
        caller=caller,
        is_partitioned=False,
    )
    with _replaced(sink) as target, system_memory_pool():
        return _write(plan, target, kind, on_bad_row, workers or len(os.sched_getaffinity(0)), on_rows)


def _write(
    plan: Plan, sink: Path | BinaryIO, kind: SingleFormat, on_bad_row: OnBadRow, workers: int, on_rows: OnRows | None
) -> int:
    scorer = plan.scorer
    writer = None
    n_rows = 0
    try:
        for part, tables in _scored_parts(plan, on_bad_row, workers):
            for table in tables:
                if writer is None:
                    metadata = {VERSION_KEY: scorer.version}
                    writer = open_writer(kind, sink, table.schema, metadata, scorer.answers.members)
                writer.write(table)
            n_rows += part.n_rows
            if on_rows is not None:
                on_rows(n_rows, max(n_rows, plan.n_rows))
    finally:
        if writer is not None:
            writer.close()
    return n_rows


def _scored_parts(plan: Plan, on_bad_row: OnBadRow, workers: int) -> Iterator[tuple[Part, list[Any]]]:
    """Yield the parts in order, with the tables of their answers; some parts more than there are workers are scored ahead."""
    pending: deque[tuple[Part, Future[list[Any]]]] = deque()

    def tables_of(part: Part) -> list[Any]:
        tables = [answered(plan.scorer, batch, part.file, on_bad_row) for batch in part.batches()]
        part.file.check_unchanged()
        return tables

    pool = ThreadPoolExecutor(workers, thread_name_prefix="score")
    try:
        for _index, part in plan.parts():
            pending.append((part, pool.submit(tables_of, part)))
            if len(pending) > workers:
                first, answer = pending.popleft()
                yield first, answer.result()
        while pending:
            first, answer = pending.popleft()
            yield first, answer.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _replaced(sink: Path | BinaryIO) -> Iterator[Path | BinaryIO]:
    """Yield the path to write to: a temporary file, which replaces the output when the block ends without an error."""
    if not isinstance(sink, Path):
        yield sink
        return
    work = sink.with_name(f".{sink.name}.writing-{os.getpid()}")
    try:
        yield work
        with work.open("ab") as file:
            os.fsync(file.fileno())
        work.replace(sink)
        sync_directory(sink.parent)
    except OSError as error:
        raise BuildError(f"{sink} cannot be written: {error.strerror or error}") from error
    finally:
        work.unlink(missing_ok=True)
