"""`Scorer`: answers for Arrow tables; it is pickled to other processes as a path and a version."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlrf.core.errors import BundleError, ConfigError, InvalidRequestError
from mlrf.core.leniency import Leniency, UnknownCategories
from mlrf.model import Model, load
from mlrf.model.array_rows import Table
from mlrf.model.table_input import read_rows
from mlrf.model.table_kinds import as_table
from mlrf.scoring.answer_columns import AnswerColumns
from mlrf.scoring.contribution_columns import ExplanationForm


class Scorer:
    """Scores Arrow tables with a bundle: the columns to keep, then those of the answers, then those of contributions.

    `columns` are some of `prediction` (a column for each class or output), `label`, `probabilities` and `margin`; by default
    the prediction, and for classifiers the label. `explain` adds the k largest contributions, or "all"; with `explain_form`
    "long" there is a row for each contribution.

    A pickle contains the bundle's path and version; the bundle is read when it is unpickled, with BundleError if
    the path contains another version.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        keep: Sequence[str] = (),
        unknown_categories: UnknownCategories = "refuse",
        columns: Sequence[str] | None = None,
        explain: int | Literal["all"] | None = None,
        explain_form: ExplanationForm = "wide",
        version: str | None = None,
    ) -> None:
        self.path = os.path.abspath(os.fspath(bundle))  # noqa: PTH100  not resolved: a link may change
        self.keep = tuple(keep)
        self.unknown_categories = unknown_categories
        self.model: Model = load(self.path)
        self.version = self.model.bundle.version
        if version is not None and version != self.version:
            raise BundleError(
                f"{self.path}: contains version {self.version[:12]}, not {version[:12]} with which the job began"
            )
        self._options = {"columns": columns, "explain": explain, "explain_form": explain_form}
        self._leniency = Leniency("ignore", unknown_categories, "python", natural=True)
        self.answers = AnswerColumns(self.model, columns, explain, explain_form)
        self.check_kept(self.keep)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the reduced form of a pickle."""
        return restored, (self.path, self.keep, self.unknown_categories, self.version, self._options)

    def __call__(self, table: Any) -> Any:
        """Return the answers of an Arrow Table or RecordBatch as a Table; InvalidRequestError names an invalid row."""
        table = _arrow_table(table)
        if absent := [name for name in self.keep if name not in table.column_names]:
            raise InvalidRequestError(f"the table has no column {absent[0]!r} to keep", field=absent[0])
        return self.answer(read_rows(self.model.schema, table, self._leniency), table.select(self.keep))

    def answer(self, rows: Table, kept: Any, faults: Sequence[tuple[int, str]] | None = None) -> Any:
        """Return the table of answers of rows [n, F], after the kept columns of n rows.

        With `faults`, row and reason of rows without an answer, their answers are null, and a column `reason` is added.
        """
        margins = self.answers.margins(rows)
        found = self.answers.of_margins(margins)
        columns = {name: kept[name] for name in kept.column_names} | found
        if faults:
            answered = np.ones(len(rows), np.bool_)
            answered[[row for row, _ in faults]] = False
            empty = pa.array(answered)
            columns |= {name: _only_where(empty, each) for name, each in found.items()}
        if faults is not None:
            texts: list[str | None] = [None] * len(rows)
            for row, reason in faults:
                texts[row] = reason
            columns["reason"] = pa.array(texts, pa.string())
        if self.answers.contributions is None:
            return pa.table(columns)
        explained = self.answers.contributions.of_rows(rows, margins)
        times = self.answers.contributions.rows_per_row
        if faults:
            every = pa.array(np.repeat(answered, times))
            explained = {name: _only_where(every, each) for name, each in explained.items()}
        if times > 1:
            repeated = pa.array(np.repeat(np.arange(len(rows)), times))
            columns = {name: each.take(repeated) for name, each in columns.items()}
        return pa.table(columns | explained)

    def check_kept(self, keep: Sequence[str]) -> None:
        """Raise ConfigError for a kept column with the name of a column of the answers."""
        taken = self.answers.names
        if found := [name for name in keep if name in (*taken, "reason")]:
            raise ConfigError(f"the kept column {found[0]!r} has the name of an output column; rename it")


def _only_where(answered: Any, column: Any) -> Any:
    return pc.if_else(answered, column, pa.scalar(None, column.type))


def _arrow_table(rows: Any) -> Any:
    """Return a table of any library as an Arrow table; InvalidRequestError if it is not a table."""
    table = as_table(rows)
    if isinstance(table, pa.Table):
        return table
    if table is None or not hasattr(table, "__arrow_c_stream__"):
        raise InvalidRequestError(
            f"a Scorer takes an Arrow table or record batch, not {type(rows).__name__}; convert it"
        )
    try:
        return pa.RecordBatchReader.from_stream(table).read_all()
    except Exception as error:
        raise InvalidRequestError(
            f"the {type(rows).__name__} cannot be read as an Arrow table ({type(error).__name__}); convert it to one"
        ) from error


def restored(
    path: str, keep: tuple[str, ...], unknown_categories: UnknownCategories, version: str, options: dict[str, Any]
) -> Scorer:
    """Return the scorer of a pickle; BundleError if the path contains another version."""
    return Scorer(path, keep=keep, unknown_categories=unknown_categories, version=version, **options)
