"""Rows that were looked up: what an answer owes to them, what it tells of them, and their reasons computed beforehand."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence

import msgspec

from mlrf.engines.interface import Rows
from mlrf.model import Model
from mlrf.serving.lookup.stored_rows import FoundRow
from mlrf.serving.oip.messages import Parameter

Known = Sequence[Sequence[float] | None]
"""Contributions that were computed beforehand, row by row; None where there are none."""
_LENGTH_BYTES = 4


def owed(found: Sequence[FoundRow]) -> tuple[int | None, float]:
    """Return what an answer from these rows owes to their store: a transaction (None: nothing), and until when it is fresh."""
    if not found:
        return None, math.inf
    return min(each.stored.transaction for each in found), min(each.fresh_until_s for each in found)


def tell(found: Sequence[FoundRow], packed: bytes) -> bytes:
    """Return tensors with what is told of their rows: when they were true; of several, when the oldest was."""
    told: dict[str, Parameter] = {}
    if all(each.stored.as_of_us is not None for each in found):
        oldest = min(found, key=lambda each: each.stored.as_of_us or 0)
        told["features_as_of"] = oldest.as_of.decode().strip('"')
    if any(each.is_stale for each in found):
        told["features_stale"] = True
    written = msgspec.json.encode(told)
    return len(written).to_bytes(_LENGTH_BYTES, "little") + written + packed


def hear(packed: bytes) -> tuple[Mapping[str, Parameter], bytes]:
    """Return what `tell` told, and the tensors."""
    end = _LENGTH_BYTES + int.from_bytes(packed[:_LENGTH_BYTES], "little")
    return msgspec.json.decode(packed[_LENGTH_BYTES:end]), packed[end:]


def are_all_known(known: Known) -> bool:
    """Whether rows were found, and no reasons of theirs are left to make."""
    return bool(known) and all(each is not None for each in known)


def reasons(model: Model, rows: Rows, found: Sequence[FoundRow], known: Known) -> array[float]:
    """Return the contributions of n rows, n x F x K: those that are known, and the engine's of the others."""
    explainer = model.explainer()
    wanted = [each.row for each, contributions in zip(found, known, strict=True) if contributions is None]
    if len(wanted) == len(known):
        return explainer.contributions_many(rows)
    live = explainer.contributions_many(model.table(wanted)) if wanted else array("d")
    place, every = 0, array("d")
    for contributions in known:
        if contributions is None:
            end = place + len(live) // len(wanted)
            every += live[place:end]
            place = end
        else:
            every.extend(contributions)
    return every
