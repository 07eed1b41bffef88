"""The rows on which the training library and the exported model must agree, by kind.

`sampled` rows are the user's own; `random` ones draw each column from where its thresholds and categories lie; `missing`,
`zero`, `threshold` and `categories` rows stand on the edges of the nodes that `reach` leads them to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlrf.builder.parity.node_probes import Coverage, probe_nodes, universe
from mlrf.core.forest import F64, LEAF, NUMERIC, ZERO_BAND, Forest

KINDS = ("sampled", "random", "missing", "threshold", "categories", "zero")
MAX_SAMPLED = 4_000
RANDOM_ROWS = 4_000
MAX_ROWS = 400_000
MAX_BYTES = 512 << 20
MAX_WALKS = 1_000_000_000
"""Rows times trees: libraries walk some millions a second, and have ten minutes."""
_MAX_NODE_CODES = 512
_CODE_BUDGET = 100_000
_MISSING_SHARE = 0.03
_SEED = 20_240_229
_NEAR_ZERO = (0.0, -0.0, 5e-324, -5e-324, 1e-35, -1e-35, ZERO_BAND, -ZERO_BAND)
_PAST_ZERO = (math.nextafter(ZERO_BAND, 1.0), math.nextafter(-ZERO_BAND, -1.0), 1e-34, -1e-34)


@dataclass(frozen=True, slots=True, eq=False)
class GoldenRows:
    """Rows [n, F], the kind of each as its place in KINDS [n], and what they cover."""

    rows: F64
    kinds: np.ndarray[tuple[int], np.dtype[np.int8]]
    coverage: Coverage


def golden_rows(
    forest: Forest, sampled: F64 | None, progress: Callable[[float], None], *, never_missing: Sequence[int] = ()
) -> GoldenRows:
    """Return the golden rows of a forest, the same ones for the same forest and sample.

    The columns `never_missing` hold a number in every row: the library refuses rows that lack one.
    """
    rng = np.random.default_rng(_SEED)
    parts = _Parts()
    random = random_rows(forest, RANDOM_ROWS, rng)
    needed = np.array(never_missing, dtype=np.int64)
    random[:, needed] = np.nan_to_num(random[:, needed])
    backgrounds = random
    if sampled is not None and len(sampled):
        spread = np.unique(np.linspace(0, len(sampled) - 1, MAX_SAMPLED).astype(np.int64))
        parts.add("sampled", sampled[spread])
        backgrounds = np.concatenate([sampled[spread], random[: len(spread)]])
    parts.add("random", random)
    parts.add("missing", _missing_rows(backgrounds, rng))
    parts.add("zero", _column_rows(backgrounds, rng, dict.fromkeys(_numeric(forest), _NEAR_ZERO + _PAST_ZERO)))
    # Beyond the codes of any set, beyond 32 and 53 bits, below zero, and between two codes.
    codes = {f: (*sorted(c), 2.0**31, 2.0**53, -2.0, -0.5, 0.5) for f, c in universe(forest).items()}
    parts.add("categories", _column_rows(backgrounds, rng, codes))
    coverage = Coverage()
    limit = max(len(random), min(MAX_ROWS, MAX_BYTES // (8 * forest.n_features), MAX_WALKS // forest.n_trees))
    categorical = int(np.count_nonzero(forest.category_set != NUMERIC))
    max_codes = min(_MAX_NODE_CODES, max(2, _CODE_BUDGET // max(1, 2 * categorical)))
    inner = max(1, int(np.count_nonzero(forest.feature != LEAF)))
    for probes in probe_nodes(forest, backgrounds, coverage, max_codes=max_codes, rng=rng):
        if parts.count >= limit:
            break
        parts.add_each(probes.kinds, probes.rows)
        if coverage.nodes % 512 == 0:
            progress(coverage.nodes / inner)
    rows, kinds = parts.whole()
    whole = ~np.any(np.isnan(rows[:, needed]), axis=1)
    if forest.inputs == "float32":
        # Libraries that round to float32 refuse an infinity, even where a threshold of theirs parts NaN from all numbers.
        with np.errstate(over="ignore"):
            whole &= ~np.any(np.isinf(rows.astype(np.float32)), axis=1)
    if not np.all(whole):
        rows, kinds = rows[whole], kinds[whole]
    return GoldenRows(rows, kinds, coverage)


def random_rows(forest: Forest, count: int, rng: np.random.Generator) -> F64:
    """Return rows whose columns fall among the thresholds and categories that the forest knows, some missing."""
    rows = rng.normal(size=(count, forest.n_features))
    numeric = (forest.feature != LEAF) & (forest.category_set == NUMERIC) & np.isfinite(forest.threshold)
    for feature in _numeric(forest):
        edges = np.unique(forest.threshold[numeric & (forest.feature == feature)])
        if len(edges):
            spread = float(np.std(edges)) or 1.0
            drawn = rng.choice(edges, count)
            with np.errstate(over="ignore", invalid="ignore"):
                moved = drawn + rng.normal(size=count) * spread * rng.choice([0.0, 0.1, 1.0], count)
            with np.errstate(over="ignore"):
                sound = np.isfinite(moved.astype(forest.inputs))
            rows[:, feature] = np.where(sound, moved, drawn)
    for feature, codes in universe(forest).items():
        rows[:, feature] = rng.choice(sorted(codes), count)
    rows[rng.random(rows.shape) < _MISSING_SHARE] = np.nan
    return rows


def _numeric(forest: Forest) -> list[int]:
    used = {int(f) for f in np.unique(forest.feature[forest.feature != LEAF])}
    return sorted(used - universe(forest).keys())


def _missing_rows(backgrounds: F64, rng: np.random.Generator) -> F64:
    n_features = backgrounds.shape[1]
    rows: F64 = backgrounds[rng.integers(len(backgrounds), size=n_features + 1)]
    rows[np.arange(n_features), np.arange(n_features)] = np.nan
    rows[n_features] = np.nan
    return rows


def _column_rows(backgrounds: F64, rng: np.random.Generator, values: dict[int, tuple[float, ...]]) -> F64:
    pairs = [(feature, value) for feature, tried in values.items() for value in tried]
    rows: F64 = backgrounds[rng.integers(len(backgrounds), size=len(pairs))]
    for row, (feature, value) in zip(rows, pairs, strict=True):
        row[feature] = value
    return rows


class _Parts:
    """Rows and kinds while they grow."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: list[F64] = []
        self._kinds: list[int] = []

    def add(self, kind: str, rows: F64) -> None:
        self.add_each([kind] * len(rows), rows)

    def add_each(self, kinds: list[str], rows: F64) -> None:
        self._rows.append(rows)
        self._kinds += [KINDS.index(kind) for kind in kinds]
        self.count += len(kinds)

    def whole(self) -> tuple[F64, np.ndarray[tuple[int], np.dtype[np.int8]]]:
        return np.ascontiguousarray(np.concatenate(self._rows)), np.array(self._kinds, np.int8)
