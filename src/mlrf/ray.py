"""Scores Ray datasets with a bundle: `mlrf.ray.score(ray.data.read_parquet("rows"), "/models/sales", "scored", keep=["id"])`.

1. The bundle travels as its path, which every node must have, or in the object store (`send_bundle`); each actor loads it once
   and checks its version.
2. Ray does not keep the order of rows: `keep` names the columns that identify them.
3. Ray's checkpoints work, with a processor for each worker and two more. With fewer, actors take all and Ray waits forever.
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
    from mlrf.scoring.sent_bundle import packed_bundle
except ImportError as missing:
    raise ConfigError(f"mlrf.ray needs Ray and pyarrow: pip install 'mlrf[ray]' ({missing})") from missing

_BATCH_ROWS = 1 << 15
_OF_CHECKPOINTS = 2
"""Processors of a job with checkpoints in addition to its workers: Ray's filter of ids, and tasks that read or write."""


def score(
    ds: Any,
    bundle: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    keep: Sequence[str],
    workers: int | tuple[int, int] = (1, 64),
    batch_rows: int = _BATCH_ROWS,
    send_bundle: bool = False,
    **options: Any,
) -> Any:
    """Return a dataset of the kept columns and answers; with `out` (a directory or URI) write it there as Parquet files.

    `workers` is the number of actors of one processor each, or the least and greatest number; `send_bundle` puts the bundle
    into the object store, for nodes that do not have its path; `options` are those of `Scorer`. ConfigError or
    MissingFeatureError if the dataset lacks a column, BundleError if the bundle is damaged. An invalid row ends the job with an
    error that names its value.
    """
    if not hasattr(ds, "map_batches"):
        raise ConfigError(f"ds is a {type(ds).__name__}; pass a Ray dataset, as of ray.data.read_parquet()")
    scorer = Scorer(bundle, keep=keep, **options)
    pickled = pickled_scorer(scorer)
    sent = ray.put(packed_bundle(scorer.model.bundle)) if send_bundle else None
    least, most = _workers(ds, *((workers, workers) if isinstance(workers, int) else workers))
    answers = ds.select_columns(read_columns(scorer, ds.schema().names)).map_batches(
        ScorerActor,
        fn_constructor_args=(pickled, sent),
        batch_format="pyarrow",
        batch_size=batch_rows,
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
    )
    if out is not None:
        answers.write_parquet(os.fspath(out))
    return answers


def _workers(ds: Any, least: int, most: int) -> tuple[int, int]:
    """Return the least and greatest number of workers, fewer where checkpoints need processors."""
    if ds.context.checkpoint_config is None:
        return least, most
    processors = int(ray.cluster_resources().get("CPU", 0))
    free = processors - _OF_CHECKPOINTS
    if least > free:
        raise ConfigError(
            f"workers: a job with checkpoints takes {_OF_CHECKPOINTS} processors in addition to one a worker, and Ray has "
            f"{processors}: with {least} workers it would wait forever; start Ray with more, as ray.init(num_cpus="
            f"{least + _OF_CHECKPOINTS}), or give fewer workers"
        )
    return least, min(most, free)


class ScorerActor:
    """The scorer of one actor of Ray."""

    def __init__(self, pickled: bytes, sent: Any = None) -> None:
        self._scorer = process_scorer(pickled, None if sent is None else ray.get(sent))

    def __call__(self, batch: Any) -> Any:
        """Return the answers of an Arrow table."""
        return self._scorer(batch)
