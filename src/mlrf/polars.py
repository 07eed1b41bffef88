"""A bundle as a Polars expression: `frame.with_columns(prediction=mlrf.polars.predict("bundle"))`.

1. The expression reads the model's features by name, and no other column.
2. It is elementwise: it works on lazy frames, in groups, and in the streaming engine, batch by batch.
3. An invalid value ends the query with the sentence that a server answers.
"""

from __future__ import annotations

import os
from typing import Any

from mlrf.core.errors import ConfigError
from mlrf.core.leniency import UnknownCategories

try:
    import polars as pl
    import pyarrow as pa
    from polars import selectors

    from mlrf.scoring.answer_array import AnswerFields, ArrayScorer
except ImportError as missing:
    raise ConfigError(f"mlrf.polars needs Polars and pyarrow: pip install 'mlrf[polars]' ({missing})") from missing

_ROWS = "mlrf rows"
"""A constant column that gives the number of rows, also to a frame that has no column of the model."""


def predict(
    bundle: str | os.PathLike[str],
    *,
    label: bool = False,
    probabilities: bool = False,
    margin: bool = False,
    contributions: bool = False,
    unknown_categories: UnknownCategories = "refuse",
    version: str | None = None,
) -> pl.Expr:
    """Return an expression that predicts the rows of a frame with a bundle.

    Its values are numbers (Float64), or structs by class for a multiclass model; with any of `label`, `probabilities`, `margin`
    and `contributions` structs of `prediction` and these. `version` is the version that the bundle must have. ConfigError if an
    option does not fit the model, BundleError if the bundle is damaged or of another version.
    """
    scorer = ArrayScorer(
        bundle,
        AnswerFields(label, probabilities, margin, contributions),
        unknown_categories=unknown_categories,
        version=version,
    )
    empty = pl.Series(pa.array([], scorer.type))
    columns = selectors.by_name(*_columns(scorer.model.schema.names), require_all=False)
    rows = pl.struct(pl.lit(0, pl.Int8).alias(_ROWS), columns)
    answers = rows.map_batches(_Answers(scorer), return_dtype=empty.dtype, is_elementwise=True)
    return answers.alias("prediction")


class _Answers:
    """The function of the expression; a pickle of it, for other processes, contains the bundle's path and version."""

    def __init__(self, scorer: ArrayScorer) -> None:
        self._scorer = scorer

    def __call__(self, rows: pl.Series) -> pl.Series:
        frame = rows.struct.unnest().drop(_ROWS)
        answers = self._scorer(_arrow(frame, len(rows)))
        return pl.Series(rows.name, answers)


def _arrow(frame: pl.DataFrame, n_rows: int) -> Any:
    """Return a frame as an Arrow table, also one without columns."""
    return frame.to_arrow() if frame.width else pa.table({_ROWS: pa.nulls(n_rows)})


def _columns(features: tuple[str, ...]) -> list[str]:
    """Return the names that columns of the features may have: LightGBM writes an underscore for each blank."""
    return [*dict.fromkeys([*features, *(name.replace("_", " ") for name in features)])]
