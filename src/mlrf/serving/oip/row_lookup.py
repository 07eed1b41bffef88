"""Rows found by key in the data plane: how long an answer from them is valid, its parameters, and precomputed contributions."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from mlrf.engines.interface import Rows
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.cache.keyed_answer import KeyedAnswer
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.lookup.instance_json import instances_json
from mlrf.serving.lookup.stored_rows import FoundRow, StoredRows
from mlrf.serving.oip.messages import Parameter
from mlrf.serving.runtime.results import Awaited, Deferred, Result
from mlrf.serving.runtime.stages import FEATURES, REST, recording

Precomputed = Sequence[Sequence[float] | None]
"""Precomputed contributions, row by row; None if there are none."""
_LENGTH_BYTES = 4


def validity_of(found: Sequence[FoundRow]) -> tuple[int | None, float]:
    """Return the store's transaction that an answer from these rows depends on (None: none), and until when it is fresh."""
    if not found:
        return None, math.inf
    return min(each.stored.transaction for each in found), min(each.fresh_until_s for each in found)


def look_up(
    rows: StoredRows,
    keys: Sequence[ByKey],
    compute: Callable[[Sequence[FoundRow]], Result],
    count_failure: Callable[[], None],
) -> Result:
    """Return what `compute` makes of the rows with these keys; a failure after waiting for a store is counted."""
    recorder, indices = recording(), range(len(keys))
    if recorder is not None:
        recorder.enter(FEATURES)

    def computed(found: Sequence[FoundRow]) -> Result:
        if recorder is not None:
            recorder.enter(REST)
        return compute(found)

    if rows.local is not None:
        return computed(rows.read(keys, indices))

    async def fetch() -> Result:
        if recorder is not None:
            recorder.enter(FEATURES)
        try:
            return computed(await rows.fetch(keys, indices))
        except BaseException:
            count_failure()
            raise

    return Awaited(fetch)


def deferred_of(
    found: Sequence[FoundRow], run: Callable[[], bytes], after: Callable[[], None], cost_s: float
) -> Deferred:
    """Return work from these rows, with how long its answer is valid."""
    transaction, fresh_s = validity_of(found)
    return Deferred(run, after, transaction=transaction, fresh_until_s=fresh_s, cost_s=cost_s)


def keyed_answer(model: RowPredictor, rows: StoredRows | None, found: Sequence[FoundRow], packed: bytes) -> KeyedAnswer:
    """Return the cache entry of tensors: the parameters of their rows, the tensors, and how long the rows allow its reuse.

    A store that machines share does not report changes: an answer from it must not be reused.
    """
    transaction, fresh_until_s = validity_of(found)
    is_local = rows is not None and rows.local is not None
    keyed = KeyedAnswer(_pack_parameters(found, packed), transaction or 0, fresh_until_s if is_local else -math.inf)
    if rows is not None and rows.are_logged:
        keyed.features = partial(instances_json, model, [[*each.row] for each in found])
    return keyed


def _pack_parameters(found: Sequence[FoundRow], packed: bytes) -> bytes:
    """Return tensors preceded by their parameters: the as-of time of their row, or of the oldest of several rows."""
    parameters: dict[str, Parameter] = {}
    if all(each.stored.as_of_us is not None for each in found):
        oldest = min(found, key=lambda each: each.stored.as_of_us or 0)
        parameters["features_as_of"] = oldest.as_of.decode().strip('"')
    if any(each.is_stale for each in found):
        parameters["features_stale"] = True
    written = msgspec.json.encode(parameters)
    return len(written).to_bytes(_LENGTH_BYTES, "little") + written + packed


def unpack_parameters(packed: bytes) -> tuple[Mapping[str, Parameter], bytes]:
    """Return the parameters and the tensors of a cached answer."""
    end = _LENGTH_BYTES + int.from_bytes(packed[:_LENGTH_BYTES], "little")
    return msgspec.json.decode(packed[_LENGTH_BYTES:end]), packed[end:]


def are_all_precomputed(precomputed: Precomputed) -> bool:
    """Whether rows were found and all their contributions were precomputed."""
    return bool(precomputed) and all(each is not None for each in precomputed)


def contributions_of(
    model: RowPredictor, rows: Rows, found: Sequence[FoundRow], precomputed: Precomputed
) -> array[float]:
    """Return the contributions of n rows, n x F x K: the precomputed ones, and the engine's for the other rows."""
    explainer = model.explainer()
    missing = [each.row for each, contributions in zip(found, precomputed, strict=True) if contributions is None]
    if len(missing) == len(precomputed):
        return explainer.contributions_many(rows)
    live = explainer.contributions_many(model.table(missing)) if missing else array("d")
    start, merged = 0, array("d")
    for contributions in precomputed:
        if contributions is None:
            end = start + len(live) // len(missing)
            merged += live[start:end]
            start = end
        else:
            merged.extend(contributions)
    return merged
