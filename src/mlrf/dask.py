"""Scores Dask data frames with a bundle: `mlrf.dask.score(dask.dataframe.read_parquet("rows"), "/models/sales", keep=["id"])`.

The bundle travels as its path, which every worker must have, or is sent to each (`send_bundle`); each process loads it once and
checks its version.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mlrf.core.errors import ConfigError

try:
    import dask
    import dask.dataframe

    from mlrf.scoring.process_scorer import pickled_scorer, read_columns, scored_pandas
    from mlrf.scoring.scorer import Scorer
    from mlrf.scoring.sent_bundle import packed_bundle
except ImportError as missing:
    raise ConfigError(f"mlrf.dask needs Dask and pyarrow: pip install 'mlrf[dask]' ({missing})") from missing


def score(
    ddf: Any, bundle: str | os.PathLike[str], *, keep: Sequence[str], send_bundle: bool = False, **options: Any
) -> Any:
    """Return a data frame of the kept columns and answers, partition by partition; `options` are those of `Scorer`.

    `send_bundle` scatters the bundle to the workers of the present client of dask.distributed, for those that do not have its
    path; without a client it is part of the graph.
    ConfigError or MissingFeatureError if the data frame lacks a column, BundleError if the bundle
    is damaged. An invalid row ends the job with an error that names its value.
    """
    if not hasattr(ddf, "map_partitions"):
        raise ConfigError(f"ddf is a {type(ddf).__name__}; pass a Dask data frame, as of dask.dataframe.read_parquet()")
    scorer = Scorer(bundle, keep=keep, **options)
    pickled = pickled_scorer(scorer)
    rows = ddf[read_columns(scorer, list(ddf.columns))]
    meta = rows._meta  # noqa: SLF001  an empty frame with the types of the columns, which map_partitions expects for answers
    empty = scored_pandas(meta, pickled)
    if not send_bundle:
        return rows.map_partitions(scored_pandas, pickled, meta=empty)
    return rows.map_partitions(scored_pandas, pickled, _sent(packed_bundle(scorer.model.bundle)), meta=empty)


def _sent(packed: bytes) -> Any:
    """Return a packed bundle as an argument of tasks: in the memory of the workers, or a part of the graph."""
    try:
        from distributed import get_client  # noqa: PLC0415  Dask's own schedulers do without

        return get_client().scatter(packed, broadcast=True)
    except (ImportError, ValueError):  # not installed, or no client
        return dask.delayed(packed)
