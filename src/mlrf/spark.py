"""Scores Spark data frames with a bundle: `mlrf.spark.score(spark.read.parquet("rows"), "/models/sales", keep=["id"])`.

1. The bundle travels as its path, which every executor must have, or as a broadcast variable (`send_bundle`); each Python
   process loads it once and checks its version.
2. Spark does not promise the order of rows: `keep` names the columns that identify them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from mlrf.core.errors import ConfigError

try:
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

    from mlrf.scoring.process_scorer import pickled_scorer, process_scorer, read_columns
    from mlrf.scoring.scorer import Scorer
    from mlrf.scoring.sent_bundle import packed_bundle
except ImportError as missing:
    raise ConfigError(f"mlrf.spark needs PySpark and pyarrow: pip install 'mlrf[spark]' ({missing})") from missing


def score(
    df: Any, bundle: str | os.PathLike[str], *, keep: Sequence[str], send_bundle: bool = False, **options: Any
) -> Any:
    """Return a data frame of the kept columns and answers, computed when Spark runs it; `options` are those of `Scorer`.

    `send_bundle` broadcasts the bundle, for executors that do not have its path.
    ConfigError or MissingFeatureError if the data frame lacks a column, BundleError if the bundle
    is damaged. An invalid row ends the job with an error that names its value.
    """
    if not hasattr(df, "mapInArrow"):
        raise ConfigError(f"df is a {type(df).__name__}; pass a Spark data frame, as of spark.read.parquet()")
    scorer = Scorer(bundle, keep=keep, **options)
    pickled = pickled_scorer(scorer)
    rows = df.select(*(f"`{name}`" for name in read_columns(scorer, df.columns)))
    sent = df.sparkSession.sparkContext.broadcast(packed_bundle(scorer.model.bundle)) if send_bundle else None

    def answers(batches: Iterator[Any]) -> Iterator[Any]:
        scorer = process_scorer(pickled, None if sent is None else sent.value)
        for batch in batches:
            yield from scorer(batch).to_batches()

    return rows.mapInArrow(answers, from_arrow_schema(_answer_schema(scorer, to_arrow_schema(rows.schema))))


def _answer_schema(scorer: Scorer, schema: Any) -> Any:
    """Return the Arrow schema of the answers to rows of a schema."""
    return scorer(pa.Table.from_batches([], schema)).schema
