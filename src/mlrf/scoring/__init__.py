"""Bulk scoring: tables in, tables out, resumable, with the same bits as `Model.predict`. Needs pyarrow."""

from mlrf.scoring.job import Summary, score
from mlrf.scoring.scorer import Scorer

__all__ = ["Scorer", "Summary", "score"]
