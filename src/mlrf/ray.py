"""Scores Ray datasets with a bundle: `mlrf.ray.score(ray.data.read_parquet("rows"), "/models/sales", "scored", keep=["id"])`.

1. The bundle travels as its path, which every node must have; each actor loads it once and checks its version.
2. Ray does not keep the order of rows: `keep` names the columns that identify them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mlrf.core.errors import ConfigError

try:
    import ray.data

    from mlrf.scoring.process_scorer import pickled_scorer, process_scorer, read_columns
    from mlrf.scoring.scorer import Scorer
except ImportError as missing:
    raise ConfigError(f"mlrf.ray needs Ray and pyarrow: pip install 'mlrf[ray]' ({missing})") from missing

_BATCH_ROWS = 1 << 15


def score(
    ds: Any,
    bundle: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    keep: Sequence[str],
    workers: int | tuple[int, int] = (1, 64),
    batch_rows: int = _BATCH_ROWS,
    **options: Any,
) -> Any:
    """Return a dataset of the kept columns and answers; with `out` (a directory or URI) write it there as Parquet files.

    `workers` is the number of actors of one processor each, or the least and greatest number; `options` are those of `Scorer`.
    ConfigError or MissingFeatureError if the dataset lacks a column, BundleError if the bundle is damaged. An invalid row ends
    the job with an error that names its value.
    """
    if not hasattr(ds, "map_batches"):
        raise ConfigError(f"ds is a {type(ds).__name__}; pass a Ray dataset, as of ray.data.read_parquet()")
    scorer = Scorer(bundle, keep=keep, **options)
    pickled = pickled_scorer(scorer)
    least, most = (workers, workers) if isinstance(workers, int) else workers
    answers = ds.select_columns(read_columns(scorer, ds.schema().names)).map_batches(
        ScorerActor,
        fn_constructor_args=(pickled,),
        batch_format="pyarrow",
        batch_size=batch_rows,
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
    )
    if out is not None:
        answers.write_parquet(os.fspath(out))
    return answers


class ScorerActor:
    """The scorer of one actor of Ray."""

    def __init__(self, pickled: bytes) -> None:
        self._scorer = process_scorer(pickled)

    def __call__(self, batch: Any) -> Any:
        """Return the answers of an Arrow table."""
        return self._scorer(batch)
