"""`Plan`: what a job reads and answers: the open inputs, the scorer, and the columns of each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlrf.core.errors import ConfigError
from mlrf.core.leniency import Leniency, UnknownCategories
from mlrf.core.repeated_names import first_repeated
from mlrf.scoring.contribution_columns import ExplanationForm
from mlrf.scoring.input_files import InputFile, find_file
from mlrf.scoring.input_paths import KINDS, find_inputs
from mlrf.scoring.memory_estimate import estimated_bytes
from mlrf.scoring.open_inputs import check_kept_types, columns_to_read, open_input, unknown_extension
from mlrf.scoring.parts import Input, Part, rows_per_batch
from mlrf.scoring.row_batches import BatchReader
from mlrf.scoring.scorer import Scorer


@dataclass(slots=True)
class Plan:
    """The inputs of a job in their order, and the scorer."""

    scorer: Scorer
    inputs: list[Input]
    keep: list[str]
    options: dict[str, Any]
    leniency: Leniency
    batch_rows: int
    is_partitioned: bool
    columns: list[list[str]] = field(default_factory=list)
    """The columns to read of each input."""

    @property
    def n_rows(self) -> int:
        """The number of rows; an estimate while text is read."""
        return sum(each.n_rows for each in self.inputs)

    def estimated_bytes(self, workers: int) -> int:
        """Return an estimate of the memory that the job takes at most."""
        answers = self.scorer.answers
        return estimated_bytes(
            workers,
            batch_rows=self.batch_rows,
            n_columns=max(map(len, self.columns)),
            n_features=len(self.scorer.model.schema.names),
            n_answers=answers.n_values + len(self.keep),
            open_bytes=max(each.open_bytes for each in self.inputs),
        )

    def identity(self) -> dict[str, Any]:
        """Return what identifies the rows of the output, as JSON values."""
        files = [each.file.identity(each.digest) for each in self.inputs]
        return {"model": self.scorer.version, "inputs": files, "keep": self.keep, **self.options}

    def parts(self) -> Iterator[tuple[int, Part]]:
        """Yield the index of the input and each of its parts, in order."""
        schema = self.scorer.model.schema
        for index, (opened, columns) in enumerate(zip(self.inputs, self.columns, strict=True)):
            partition = opened.file.path.partition
            reader = BatchReader(schema, self.leniency, self.kept_of(opened), partition)
            for part in opened.parts(columns, reader, self.batch_rows):
                yield index, part

    def kept_of(self, opened: Input) -> list[str]:
        """Return the columns to keep in the parts of an input: those of its partition are in the names of folders."""
        if not self.is_partitioned:
            return self.keep
        return [name for name in self.keep if name not in opened.file.path.partition]


def make_plan(
    bundle: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | InputFile,
    *,
    keep: Sequence[str] | Literal["all"],
    unknown_categories: UnknownCategories,
    columns: Sequence[str] | None,
    explain: int | Literal["all"] | None,
    explain_form: ExplanationForm,
    caller: Literal["python", "command line"],
    is_partitioned: bool,
    output: Path | str | None = None,
) -> Plan:
    """Open a bundle and the inputs, and check all columns; errors as of `score`."""
    for option, names in (("keep", keep), ("columns", columns)):
        if isinstance(names, str) and names != "all":
            raise ConfigError(f"{option}: pass a list of names, as {option}=[{names!r}], not {names!r}")
    scorer = Scorer(
        bundle,
        unknown_categories=unknown_categories,
        columns=columns,
        explain=explain,
        explain_form=explain_form,
    )
    schema = scorer.model.schema
    if isinstance(inputs, InputFile):
        files = [inputs]
    else:
        files = []
        for path in find_inputs(inputs, output):
            if path.extension not in KINDS and not path.is_remote and not os.path.exists(path.text):  # noqa: PTH110
                raise unknown_extension(path.text, path.extension)
            files.append(find_file(path))
    if not files:
        raise ConfigError("there are no inputs; give at least one file, directory or address")
    opened = [open_input(file, schema) for file in files]
    kept = _names_of(opened[0]) if keep == "all" else list(keep)
    if (twice := first_repeated(kept)) is not None:
        raise ConfigError(f"the column {twice!r} would be kept twice; name it once")
    scorer.check_kept(kept)
    answers = scorer.answers
    plan = Plan(
        scorer,
        opened,
        kept,
        {
            "unknown_categories": unknown_categories,
            "columns": list(answers.columns),
            "explain": explain,
            "explain_form": explain_form if explain is not None else None,
        },
        Leniency("ignore", unknown_categories, caller, natural=True),
        rows_per_batch(len(schema.names), answers.n_values),
        is_partitioned,
    )
    plan.columns = [columns_to_read(each, schema, kept) for each in opened]
    check_kept_types(opened, kept, is_partitioned=is_partitioned)
    return plan


def _names_of(opened: Input) -> list[str]:
    """Return the columns of a file and of its partition."""
    return [*dict.fromkeys([*opened.names, *opened.file.path.partition])]
