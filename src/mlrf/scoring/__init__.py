"""Score tables in bulk: Parquet files in, Parquet files out, resumable, with the bits of `Model.predict`. Needs pyarrow."""

from mlrf.scoring.job import Summary, score
from mlrf.scoring.scorer import Scorer

__all__ = ["Scorer", "Summary", "score"]
