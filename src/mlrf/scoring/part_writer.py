"""Scores a part and writes it; rows that cannot be answered are written to a separate file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from mlrf.core.errors import ConfigError
from mlrf.scoring.bad_rows import ON_BAD_ROW, OnBadRow, fault_texts, first_fault, quarantined, without_faults
from mlrf.scoring.formats import RUN_KEY, VERSION_KEY, TableWriter, open_writer
from mlrf.scoring.input_files import InputFile
from mlrf.scoring.job_output import JobOutput, UnfinishedPart
from mlrf.scoring.parts import Part
from mlrf.scoring.row_batches import Batch
from mlrf.scoring.scorer import Scorer


class PartCounts(NamedTuple):
    """What a part contains."""

    rows: int
    """Rows of the input."""
    bad_rows: int
    """Those of them that have no answer."""


class PartWriter:
    """Writes parts into a directory; several threads may do so at once."""

    def __init__(self, scorer: Scorer, output: JobOutput, on_bad_row: OnBadRow) -> None:
        check_on_bad_row(on_bad_row)
        self._scorer = scorer
        self._output = output
        self._on_bad_row = on_bad_row
        self._metadata = {RUN_KEY: output.run, VERSION_KEY: scorer.version}

    def write(self, name: str, part: Part) -> tuple[PartCounts, UnfinishedPart]:
        """Score a part and write it, to be finished under a name; errors as of `score`."""
        n_bad = 0
        with self._output.part(name) as unfinished, ExitStack() as open_files:
            writers: dict[Path, TableWriter] = {}

            def write(where: Path, table: Any) -> None:
                if where not in writers:
                    where.parent.mkdir(parents=True, exist_ok=True)
                    writers[where] = open_writer(self._output.kind, where, table.schema, self._metadata, {})
                    open_files.callback(writers[where].close)
                writers[where].write(table)

            for batch in part.batches():
                n_bad += len(batch.faults)
                write(unfinished.path, answered(self._scorer, batch, part.file, self._on_bad_row))
                if batch.faults and self._on_bad_row == "quarantine":
                    write(unfinished.bad_path, quarantined(batch, part.file))
            open_files.close()
            part.file.check_unchanged()
        return PartCounts(part.n_rows, n_bad), unfinished


def answered(scorer: Scorer, batch: Batch, file: InputFile, on_bad_row: OnBadRow) -> Any:
    """Return the table of the answers of a batch; the error of its first invalid row if that stops the job."""
    if on_bad_row == "null":
        return scorer.answer(batch.rows, batch.kept, fault_texts(batch))
    if not batch.faults:
        return scorer.answer(batch.rows, batch.kept)
    if on_bad_row == "stop":
        raise first_fault(batch, file)
    return scorer.answer(*without_faults(batch))


def check_on_bad_row(on_bad_row: str) -> None:
    """Raise ConfigError for a value that is not one of `OnBadRow`."""
    if on_bad_row not in ON_BAD_ROW:
        raise ConfigError(f"on_bad_row is one of {', '.join(ON_BAD_ROW)}, not {on_bad_row!r}")
