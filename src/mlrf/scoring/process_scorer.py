"""Scorers in the processes of a cluster: each process loads a bundle once, and checks its version.

The driver pickles a Scorer, which is a path, a version and options; tasks call `process_scorer` with these bytes, and with
those of the bundle if it is sent to processes that do not have its path.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import ConfigError, MissingFeatureError
from mlrf.scoring.scorer import Scorer, restored
from mlrf.scoring.sent_bundle import unpacked

_LOADED = 4
"""Number of scorers that a process keeps, for its next tasks."""


_scorers: OrderedDict[bytes, Scorer] = OrderedDict()
_lock = Lock()


def process_scorer(pickled: bytes, packed: bytes | None = None) -> Scorer:
    """Return the scorer of this process; BundleError if the bundle is not the version that the driver loaded.

    `packed` is the bundle (`packed_bundle`), which otherwise is read from its path.
    """
    with _lock:
        scorer = _scorers.get(pickled)
        if scorer is None:
            scorer = _scorers[pickled] = _opened(pickled, packed)
            while len(_scorers) > _LOADED:
                _scorers.popitem(last=False)
        return scorer


def _opened(pickled: bytes, packed: bytes | None) -> Scorer:
    path, *arguments = pickle.loads(pickled)  # noqa: S301  made by `pickled_scorer` in the driver, and sent by its engine
    if packed is None:
        return restored(path, *arguments)
    with unpacked(packed) as root:
        return restored(str(root), *arguments)


def pickled_scorer(scorer: Scorer) -> bytes:
    """Return a scorer for `process_scorer`; ConfigError if no column is kept by which its answers can be distinguished."""
    if not scorer.keep:
        raise ConfigError(
            "keep: engines do not keep the order of rows; name the columns that identify a row, as keep=['id']"
        )
    return pickle.dumps(scorer.__reduce__()[1])


def read_columns(scorer: Scorer, names: Sequence[str]) -> list[str]:
    """Return the columns that a scorer reads, of those that a table has; an error names the first that it lacks."""
    schema = scorer.model.schema
    found = find_columns(schema.names, names)
    if absent := [each.name for each in schema.features if each.name not in found and not each.optional]:
        raise MissingFeatureError(f"the table has no column {absent[0]!r}", feature=absent[0])
    if missing := [name for name in scorer.keep if name not in names]:
        raise ConfigError(f"keep: the table has no column {missing[0]!r}")
    return list(dict.fromkeys([*(names[index] for index in found.values()), *scorer.keep]))


def scored_pandas(frame: Any, pickled: bytes, packed: bytes | None = None) -> Any:
    """Return the answers of a pandas DataFrame as one, with its index."""
    answers = process_scorer(pickled, packed)(frame).to_pandas()
    answers.index = frame.index
    return answers
