"""`Scorer`: predictions for Arrow tables; it is pickled to other processes as a path and a version."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mlrf.core.errors import BundleError, ConfigError, InvalidRequestError
from mlrf.core.leniency import Leniency, UnknownCategories
from mlrf.model import Model, load
from mlrf.model.row_predictor import RowPredictor
from mlrf.model.table_kinds import as_table

_TWO = 2
"""Number of classes for which a prediction is one probability."""


class Scorer:
    """Scores Arrow tables with a bundle: the columns to keep, then `prediction` (one column per class or output) and `label`.

    A pickle contains the bundle's path and version; the bundle is read when it is unpickled, with BundleError if
    the path contains another version.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        keep: Sequence[str] = (),
        unknown_categories: UnknownCategories = "refuse",
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
        self._leniency = Leniency("ignore", unknown_categories, "python", natural=True)
        self._outputs = _output_names(self.model)
        taken = [name for name in self.keep if name in (*self._outputs, "label")]
        if taken:
            raise ConfigError(f"the kept column {taken[0]!r} has the name of an output column; rename it")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the reduced form of a pickle."""
        return _restored, (self.path, self.keep, self.unknown_categories, self.version)

    def __call__(self, table: Any) -> Any:
        """Return the answers of an Arrow Table or RecordBatch as a Table; InvalidRequestError names an invalid row."""
        table = _arrow_table(table)
        if absent := [name for name in self.keep if name not in table.column_names]:
            raise InvalidRequestError(f"the table has no column {absent[0]!r} to keep", field=absent[0])
        model = self.model
        predictions = model.predict(table, self._leniency).reshape(-1, len(self._outputs))
        columns = {name: table[name] for name in self.keep}
        columns |= {name: pa.array(predictions[:, index]) for index, name in enumerate(self._outputs)}
        if model.classes is not None:
            answers = predictions.tolist() if len(self._outputs) > 1 else predictions[:, 0].tolist()
            indices = RowPredictor(model.bundle, model.engine).class_indices(answers)
            columns["label"] = pa.array([model.classes[index] for index in indices], self._label_type())
        return pa.table(columns)

    def _label_type(self) -> Any:
        kinds = {type(each) for each in self.model.classes or ()}
        if len(kinds) > 1:
            raise ConfigError(
                f"the classes of {self.model.name} are of several types, which no column of a table can hold"
            )
        return {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}[kinds.pop()]


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


def _restored(path: str, keep: tuple[str, ...], unknown_categories: UnknownCategories, version: str) -> Scorer:
    return Scorer(path, keep=keep, unknown_categories=unknown_categories, version=version)


def _output_names(model: Model) -> list[str]:
    count = model.bundle.manifest.n_outputs
    if count == 1:
        return ["prediction"]
    return [f"prediction_{name}" for name in (model.classes or range(count))]
