"""Scores Dask data frames with a bundle: `mlrf.dask.score(dask.dataframe.read_parquet("rows"), "/models/sales", keep=["id"])`.

The bundle travels as its path, which every worker must have; each process loads it once and checks its version.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mlrf.core.errors import ConfigError

try:
    import dask.dataframe  # noqa: F401  fails here if it is missing, and not in a task

    from mlrf.scoring.process_scorer import pickled_scorer, read_columns, scored_pandas
    from mlrf.scoring.scorer import Scorer
except ImportError as missing:
    raise ConfigError(f"mlrf.dask needs Dask and pyarrow: pip install 'mlrf[dask]' ({missing})") from missing


def score(ddf: Any, bundle: str | os.PathLike[str], *, keep: Sequence[str], **options: Any) -> Any:
    """Return a data frame of the kept columns and answers, partition by partition; `options` are those of `Scorer`.

    ConfigError or MissingFeatureError if the data frame lacks a column, BundleError if the bundle is damaged. An invalid row
    ends the job with an error that names its value.
    """
    if not hasattr(ddf, "map_partitions"):
        raise ConfigError(f"ddf is a {type(ddf).__name__}; pass a Dask data frame, as of dask.dataframe.read_parquet()")
    scorer = Scorer(bundle, keep=keep, **options)
    pickled = pickled_scorer(scorer)
    rows = ddf[read_columns(scorer, list(ddf.columns))]
    meta = rows._meta  # noqa: SLF001  an empty frame with the types of the columns, which map_partitions expects for answers
    return rows.map_partitions(scored_pandas, pickled, meta=scored_pandas(meta, pickled))
