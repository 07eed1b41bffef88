"""CatBoost's CTR features: statistics of the target by category, or by a combination of categories and conditions.

A model keeps, by the hash of a combination, how often training saw it and with which targets; the statistic is made of those
counts and of a prior, in float32, when a row is predicted. Here it is made of each entry once, when the model is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import ModelUnreadableError
from mlrf.core.table_columns import F32, MULTIPLIER, U64

_UNDO_SINGLE = np.uint64(pow(int(MULTIPLIER) ** 2, -1, 1 << 64))
NO_KEY = 0xFFFFFFFFFFFFFFFF
"""The marker of an empty slot in CatBoost's own tables."""


class CtrType(IntEnum):
    """The kind of statistic, with CatBoost's own numbers and names."""

    Borders = 0
    Buckets = 1
    BinarizedTargetMeanValue = 2
    FloatTargetMeanValue = 3
    Counter = 4
    FeatureFreq = 5


MEANS = (CtrType.BinarizedTargetMeanValue, CtrType.FloatTargetMeanValue)
COUNTERS = (CtrType.Counter, CtrType.FeatureFreq)


@dataclass(frozen=True, slots=True)
class Combination:
    """The combination behind a statistic; features by their index among all features."""

    categories: tuple[int, ...]
    above: tuple[tuple[int, float], ...] = ()
    """Numeric features and the borders that they are compared with."""
    equals: tuple[tuple[int, int], ...] = ()
    """Categorical features and the hash that they are compared with."""


@dataclass(frozen=True, slots=True)
class TableId:
    """The table of the model from which a statistic is computed."""

    combination: Combination
    type: CtrType
    classifier: int = 0


@dataclass(frozen=True, slots=True)
class Ctr:
    """A statistic: its table, and how it is computed."""

    table: TableId
    target_border: int = 0
    prior_numerator: float = 0.0
    prior_denominator: float = 1.0
    shift: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class CtrTable:
    """The counts of training, by the hash of the combination."""

    keys: U64
    """[m]"""
    counts: npt.NDArray[np.float64]
    """[m, c] counts of each class of the target; for means the sum and the count; for counters the count."""
    denominator: int = 0
    """The denominator of counters."""


def ctr_values(ctr: Ctr, table: CtrTable) -> F32:
    """Return the statistic of each entry of a table [m + 1], the last one for combinations that are not in it.

    ModelUnreadableError for a class of the target that the table does not have.
    """
    counts = np.concatenate([table.counts, np.zeros((1, table.counts.shape[1]))])
    if ctr.table.type in MEANS:
        good, total = counts[:, 0], counts[:, 1]
    elif ctr.table.type in COUNTERS:
        good, total = counts[:, 0], np.full(len(counts), float(table.denominator))
    else:
        if not 0 <= ctr.target_border < counts.shape[1]:
            raise ModelUnreadableError(
                f"a CTR feature uses class {ctr.target_border}, but its table has {counts.shape[1]}"
            )
        total = counts.sum(axis=1)
        if ctr.table.type is CtrType.Buckets:
            good = counts[:, ctr.target_border]
        else:
            # CatBoost reads the second class of tables of two classes, whatever the border.
            first = ctr.target_border + 1 if counts.shape[1] > 2 else 1  # noqa: PLR2004
            good = counts[:, first:].sum(axis=1)
    # Each step in float32, as CatBoost computes it.
    with np.errstate(all="ignore"):
        numerator = good.astype(np.float32) + np.float32(ctr.prior_numerator)
        mean = numerator / (total.astype(np.float32) + np.float32(ctr.prior_denominator))
        return np.asarray((mean + np.float32(ctr.shift)) * np.float32(ctr.scale), np.float32)


def make_table(keys: U64, counts: npt.NDArray[np.float64], denominator: int) -> CtrTable:
    """Return a table; ModelUnreadableError if a key occurs twice."""
    if len(np.unique(keys)) != len(keys):
        raise ModelUnreadableError("a CTR table of the model contains a key twice")
    return CtrTable(keys, counts, denominator)


def single_hashes(keys: U64) -> list[int]:
    """Return the hashes of the categories behind keys of single categories: a product modulo 2^64 can be inverted."""
    parts = (keys * _UNDO_SINGLE).view(np.int64)
    # CatBoost treats a 32-bit hash as a signed number.
    is_hash = parts == parts.astype(np.int32)
    return (parts[is_hash] & 0xFFFFFFFF).tolist()  # type: ignore[no-any-return]
