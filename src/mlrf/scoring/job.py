"""A scoring job: each row group of Parquet files is scored to one part, in the order of the input, by several threads.

1. The job's identity is the model's version, the inputs and the options that change rows; its digest is the run, which
   every part contains. Workers and progress are not part of it, so that a job may continue with other values.
2. A part is finished once it has its final name; repeating the call scores only the rest, and gives the same bytes.
3. A row group is read and written in batches: memory does not grow with the input.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.leniency import UnknownCategories
from mlrf.scoring.input_files import InputFile, find_inputs, open_input
from mlrf.scoring.output import RUN_KEY, OutputDirectory
from mlrf.scoring.scorer import Scorer

_BATCH_ROWS = 1 << 16
_RUN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a job."""

    run: str
    rows: int
    """Rows of all parts."""
    parts: int
    parts_scored: int
    """Parts scored by this call; the others existed."""


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    input: InputFile
    row_group: int
    first_row: int
    n_rows: int


def score(
    bundle: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    keep: Sequence[str] = (),
    unknown_categories: UnknownCategories = "refuse",
    workers: int | None = None,
    restart: bool = False,
    on_rows: Callable[[int, int], None] | None = None,
) -> Summary:
    """Score Parquet files into a directory of Parquet parts, one for each row group; a killed call continues when repeated.

    `inputs` are files, directories and globs; `keep` names columns to pass through; `workers` threads (default: the processors)
    have a batch of 65,536 rows each; `on_rows` is called with the number of finished rows and of all rows. `restart` deletes
    the output of another job in `out`. OutputExistsError if `out` contains another job or foreign files, InvalidRequestError
    names the file, row and feature of an invalid value.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    scorer = Scorer(bundle, keep=keep, unknown_categories=unknown_categories)
    paths = find_inputs(inputs)
    files = [open_input(path, scorer.model.schema, scorer.keep) for path in paths]
    target = Path(out).resolve()
    if inside := [path for path in paths if path.is_relative_to(target)]:
        raise ConfigError(f"{inside[0]} is an input inside the output directory {target}; choose another --out")
    job = {
        "model": scorer.version,
        "inputs": [file.identity for file in files],
        "keep": list(keep),
        "unknown_categories": unknown_categories,
        "pyarrow": pa.__version__,
    }
    run = hashlib.sha256(msgspec.json.encode(job)).hexdigest()[:_RUN_DIGITS]
    parts = _plan(files)
    output = OutputDirectory(target, run)
    with output.opened(job, restart=restart):
        todo = [part for part in parts if not output.has(part.name)]
        total = sum(part.n_rows for part in parts)
        _score_parts(scorer, output, todo, workers or len(os.sched_getaffinity(0)), total, on_rows)
        listed = [{"name": part.name, "rows": part.n_rows, "input": str(part.input.path)} for part in parts]
        output.finish({"run": run, "model": scorer.version, "rows": total, "parts": listed})
    return Summary(run, total, len(parts), len(todo))


def _plan(files: Sequence[InputFile]) -> list[_Part]:
    parts: list[_Part] = []
    for file in files:
        first = 0
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            parts.append(_Part(f"part-{len(parts):06}.parquet", file, group, first, count))
            first += count
    return parts


def _score_parts(
    scorer: Scorer,
    output: OutputDirectory,
    parts: Sequence[_Part],
    workers: int,
    total: int,
    on_rows: Callable[[int, int], None] | None,
) -> None:
    done = total - sum(part.n_rows for part in parts)
    pending: set[Future[int]] = set()
    waiting = iter(parts)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="score")
    try:
        while True:
            while len(pending) < workers and (part := next(waiting, None)) is not None:
                pending.add(pool.submit(_score_part, scorer, output, part))
            if on_rows is not None:
                on_rows(done, total)
            if not pending:
                return
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            done += sum(each.result() for each in finished)
    finally:
        pool.shutdown(cancel_futures=True)


def _score_part(scorer: Scorer, output: OutputDirectory, part: _Part) -> int:
    metadata = {RUN_KEY: output.run.encode(), b"mlrf.version": scorer.version.encode()}
    first = part.first_row
    with output.part(part.name) as path:
        writer = None
        try:
            for batch in _batches(part):
                try:
                    table = scorer(batch)
                except InvalidRequestError as error:
                    raise _located(error, part, first) from error
                first += len(table)
                table = table.replace_schema_metadata(metadata)
                if writer is None:
                    writer = pq.ParquetWriter(path, table.schema)
                    writer.add_key_value_metadata(metadata)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
        part.input.check_unchanged()
    return part.n_rows


def _batches(part: _Part) -> Any:
    """Yield the batches of a row group, an empty one if it has no rows; ConfigError if the file cannot be read."""
    try:
        with pq.ParquetFile(part.input.path) as file:
            columns = list(part.input.columns)
            if not part.n_rows:
                yield file.schema_arrow.empty_table().select(columns)
            yield from file.iter_batches(_BATCH_ROWS, row_groups=[part.row_group], columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{part.input.path} cannot be read: {error}") from error


def _located(error: InvalidRequestError, part: _Part, first: int) -> InvalidRequestError:
    details = dict(error.details)
    within = details.pop("row", None)
    if not isinstance(within, int):
        return type(error)(f"{part.input.path}: {error}", **details)
    text = str(error).removeprefix(f"row {within}: ")
    return type(error)(f"{part.input.path}: row {first + within}: {text}", row=first + within, **details)
