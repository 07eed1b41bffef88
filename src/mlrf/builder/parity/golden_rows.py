"""The rows on which the training library and the exported model must agree, by kind.

`sampled` rows are the user's own; `random` ones draw each column near its thresholds and categories; `missing`,
`zero`, `threshold` and `categories` rows are at the splits of the nodes that `node_probes` leads them to; `tables` rows find
the entries of the look-up tables.

Rows times columns are bounded. If a model is so wide that a row for each split would exceed the bound, one row is at the
splits of many nodes, as many as do not contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlrf.builder.importers.imported_model import Band, ImportedModel
from mlrf.builder.memory import require_memory
from mlrf.builder.parity.node_probes import Coverage, NodeProbes, category_codes, probe_nodes
from mlrf.builder.parity.number_placement import NumberPlacement
from mlrf.builder.parity.row_collector import KINDS, Kinds, RowCollector
from mlrf.builder.parity.sparse_rows import SparseRows
from mlrf.builder.parity.table_rows import (
    bordered_features,
    count_found,
    entry_rows,
    sampled_entry_rows,
    table_borders,
)
from mlrf.core.forest import F64, LEAF, NUMERIC, ZERO_BAND, Bool, Forest

__all__ = ["KINDS", "GoldenRows", "golden_rows", "random_rows", "row_limit"]

MAX_SAMPLED = 4_000
RANDOM_ROWS = 4_000
MAX_ROWS = 400_000
MAX_BYTES = 512 << 20
"""Largest number of rows times columns, as float64; they are computed in blocks and never all in memory."""
MAX_WALKS = 1_000_000_000
"""Rows times trees: libraries evaluate some millions a second, and have ten minutes."""
_MIN_ROWS = 64
_MAX_NODE_CODES = 512
_CODE_BUDGET = 100_000
_PROBES_A_NODE = 4
_MISSING_SHARE = 0.03
_SEED = 20_240_229
_NEAR_ZERO = (0.0, -0.0, 5e-324, -5e-324, 1e-35, -1e-35, ZERO_BAND, -ZERO_BAND)
_PAST_ZERO = (math.nextafter(ZERO_BAND, 1.0), math.nextafter(-ZERO_BAND, -1.0), 1e-34, -1e-34)
_BEYOND_CODES = (2.0**31, 2.0**53, -2.0, -0.5, 0.5)
"""Beyond the codes of any set, beyond 32 and 53 bits, below zero, and between two codes."""


@dataclass(frozen=True, slots=True, eq=False)
class GoldenRows:
    """Rows [n, F], the kind of each as its index in KINDS [n], and what they cover."""

    rows: SparseRows
    kinds: Kinds
    coverage: Coverage

    def take(self, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> GoldenRows:
        """Return the rows at `indices`, in their order."""
        return GoldenRows(self.rows.take(indices), self.kinds[indices], self.coverage)


def row_limit(n_features: int, n_trees: int) -> int:
    """Return the number of golden rows for a model of this size."""
    return max(_MIN_ROWS, min(MAX_ROWS, MAX_BYTES // (8 * n_features), MAX_WALKS // max(1, n_trees)))


def golden_rows_of(
    model: ImportedModel, sampled: F64 | None, progress: Callable[[float], None] = lambda _: None
) -> GoldenRows:
    """Return the golden rows of an imported model: those of its forest that its library accepts."""
    return golden_rows(
        model.forest,
        sampled,
        progress,
        never_missing=[column for column, feature in enumerate(model.features) if not feature.nullable],
        code_counts={column: len(model.features[column].categories or ()) for column in model.known_codes_only},
        edge_values=model.edge_values,
        largest_number=model.largest_number,
        ranges={
            column: (feature.least, feature.most) for column, feature in enumerate(model.features) if feature.is_bounded
        },
        bands=model.bands,
    )


def golden_rows(
    forest: Forest,
    sampled: F64 | None,
    progress: Callable[[float], None],
    *,
    never_missing: Sequence[int] = (),
    code_counts: Mapping[int, int] | None = None,
    edge_values: Mapping[int, tuple[float, ...]] | None = None,
    largest_number: float = math.inf,
    ranges: Mapping[int, tuple[float, float]] | None = None,
    bands: Mapping[int, Sequence[Band]] | None = None,
) -> GoldenRows:
    """Return the golden rows of a forest, the same ones for the same forest and sample.

    The columns `never_missing` have a number in every row: the library refuses rows without one. If `code_counts` names a
    column, it refuses codes that are not below the count. `edge_values` are further values of columns to try. Numbers beyond
    the `ranges` of columns become the ends of these, numbers in `bands` the next ones outside.
    """
    rng = np.random.default_rng(_SEED)
    limit = row_limit(forest.n_features, forest.n_trees)
    n_random = min(RANDOM_ROWS, max(_MIN_ROWS // 4, MAX_BYTES // (32 * forest.n_features)))
    # They are drawn as integers first, which exist together with them for a while.
    require_memory(2 * 8 * n_random * forest.n_features, f"verifying a model of {forest.n_features:,} features")
    random = random_rows(forest, n_random, rng)
    needed = np.array(never_missing, dtype=np.int64)
    random[:, needed] = np.nan_to_num(random[:, needed])
    closed = code_counts or {}
    for column, count in closed.items():
        beyond = ~_is_code(random[:, column], count)
        random[beyond, column] = rng.integers(max(1, count), size=np.count_nonzero(beyond))
    rows = RowCollector(max(limit, len(random)), rng)
    backgrounds = random
    if sampled is not None and len(sampled):
        spread = np.unique(np.linspace(0, len(sampled) - 1, min(MAX_SAMPLED, n_random)).astype(np.int64))
        rows.add_whole("sampled", sampled[spread])
        rows.add_whole("tables", sampled_entry_rows(forest, sampled))
        backgrounds = np.concatenate([sampled[spread], random[: len(spread)]])
    rows.add_whole("random", random)
    for found in entry_rows(forest, backgrounds, rng):
        rows.add_whole("tables", found)
    every = range(forest.n_features)
    rows.add_columns("missing", [dict.fromkeys(every, math.nan)])
    rows.add_alterations("missing", dict.fromkeys(every, math.nan))
    rows.add_columns("zero", [dict.fromkeys(_numeric(forest), value) for value in _NEAR_ZERO + _PAST_ZERO])
    rows.add_columns(
        "categories", _by_turn({f: (*sorted(c), *_BEYOND_CODES) for f, c in category_codes(forest).items()})
    )
    by_code = category_codes(forest).keys()
    for column, values in (edge_values or {}).items():
        rows.add_columns("categories" if column in by_code else "threshold", [{column: value} for value in values])
    coverage = _add_probes(forest, rows, rng, progress)
    placement = NumberPlacement(ranges or {}, bands or {})
    return _answerable(forest, rows, needed, closed, largest_number, placement, coverage)


def _add_probes(
    forest: Forest, rows: RowCollector, rng: np.random.Generator, progress: Callable[[float], None]
) -> Coverage:
    coverage = Coverage()
    categorical = int(np.count_nonzero(forest.category_set != NUMERIC))
    max_codes = min(_MAX_NODE_CODES, max(2, _CODE_BUDGET // max(1, 2 * categorical)))
    inner = max(1, int(np.count_nonzero(forest.feature != LEAF)))
    rows.shares_rows = rows.count + _PROBES_A_NODE * inner > MAX_BYTES // (8 * forest.n_features)
    for probes in probe_nodes(forest, rows.backgrounds(), coverage, max_codes=max_codes, rng=rng):
        if rows.is_full and not rows.shares_rows:
            break
        coverage.nodes += _add_node(rows, probes)
        if coverage.nodes % 512 == 0:
            progress(coverage.nodes / inner)
    return coverage


def _add_node(rows: RowCollector, probes: NodeProbes) -> bool:
    """Add a row for each probe of a node; return whether one of them fitted."""
    added = [rows.add(kind, probes.background, {**probes.path, probes.tested: x}) for kind, x in probes.probes]
    return any(added) or not added


def _by_turn(values: dict[int, tuple[float, ...]]) -> list[dict[int, float]]:
    """Return the first value of each column, then the second of each column that has one, and so on."""
    longest = max(map(len, values.values()), default=0)
    return [{f: tried[turn] for f, tried in values.items() if turn < len(tried)} for turn in range(longest)]


def _answerable(
    forest: Forest,
    collected: RowCollector,
    needed: np.ndarray[tuple[int], np.dtype[np.int64]],
    code_counts: Mapping[int, int],
    largest_number: float,
    placement: NumberPlacement,
    coverage: Coverage,
) -> GoldenRows:
    """Return the rows without those that the library refuses."""
    rows, kinds = collected.collected()
    rows = placement.rows(rows)
    is_limited = len(needed) or code_counts or math.isfinite(largest_number)
    if not is_limited and forest.inputs != "float32":
        return _counted(forest, GoldenRows(rows, kinds, coverage))
    kept = []
    for first, table in rows.blocks():
        sound = ~np.any(np.isnan(table[:, needed]), axis=1) & ~np.any(np.abs(table) > largest_number, axis=1)
        for column, count in code_counts.items():
            sound &= _is_code(table[:, column], count)
        if forest.inputs == "float32":
            # Libraries that round to float32 refuse an infinity, even if one of their thresholds separates NaN from all
            # numbers.
            with np.errstate(over="ignore"):
                sound &= ~np.any(np.isinf(table.astype(np.float32)), axis=1)
        kept.append(first + np.flatnonzero(sound))
    return _counted(forest, GoldenRows(rows, kinds, coverage).take(np.concatenate(kept)))


def _counted(forest: Forest, golden: GoldenRows) -> GoldenRows:
    """Return the rows, with the table entries that they find counted in their coverage."""
    if forest.tables is not None:
        golden.coverage.table_entries = forest.tables.n_entries
        golden.coverage.table_entries_found = count_found(forest, golden.rows.dense())
    return golden


def _is_code(values: F64, count: int) -> Bool:
    """Return which values of a column are missing, or one of its first `count` codes (as the engine reads them)."""
    codes = np.trunc(values)
    return np.isnan(values) | ((codes >= 0) & (codes < count) & (values >= 0))


def random_rows(forest: Forest, count: int, rng: np.random.Generator) -> F64:
    """Return rows with values between the thresholds and among the categories of the forest, some missing."""
    # Columns that no node tests get small integers, which take little space in a bundle.
    rows = rng.integers(-3, 4, size=(count, forest.n_features)).astype(np.float64)
    for feature, edges in _edges(forest).items():
        spread = float(np.std(edges)) or 1.0
        drawn = rng.choice(edges, count)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = drawn + rng.normal(size=count) * spread * rng.choice([0.0, 0.1, 1.0], count)
        with np.errstate(over="ignore"):
            sound = np.isfinite(moved.astype(forest.inputs))
        rows[:, feature] = np.where(sound, moved, drawn)
    for feature, codes in category_codes(forest).items():
        rows[:, feature] = rng.choice(sorted(codes), count)
    for start in range(0, count, 256):
        block = rows[start : start + 256]
        block[rng.random(block.shape) < _MISSING_SHARE] = np.nan
    return rows


def _edges(forest: Forest) -> dict[int, F64]:
    """Return the finite thresholds and table borders of each numeric feature that has some, ascending, each once."""
    tested = (forest.feature != LEAF) & (forest.feature < forest.n_features) & (forest.category_set == NUMERIC)
    numeric = np.flatnonzero(tested & np.isfinite(forest.threshold))
    order = numeric[np.argsort(forest.feature[numeric], kind="stable")]
    features, firsts = np.unique(forest.feature[order], return_index=True)
    edges = dict(zip(features.tolist(), np.split(forest.threshold[order], firsts[1:]), strict=False))
    for feature in bordered_features(forest):
        edges[feature] = np.concatenate([edges.get(feature, np.empty(0)), table_borders(forest, feature)])
    categorical = category_codes(forest)
    return {feature: np.unique(part) for feature, part in sorted(edges.items()) if feature not in categorical}


def _numeric(forest: Forest) -> list[int]:
    used = {int(f) for f in np.unique(forest.feature[forest.feature != LEAF]) if f < forest.n_features}
    return sorted((used | bordered_features(forest)) - category_codes(forest).keys())
