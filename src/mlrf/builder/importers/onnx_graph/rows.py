"""Rows to run a graph on: sample rows, random rows, rows with a missing value, each category, zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from mlrf.builder.importers.imported_model import ImportedGraph
from mlrf.builder.parity.golden_rows import KINDS, GoldenRows
from mlrf.builder.parity.node_probes import Coverage
from mlrf.builder.parity.sparse_rows import SparseRows
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import F64

_SEED = 20_261_123
_TRIED_ROWS = 32
_RANDOM_ROWS = 600
_SAMPLED_ROWS = 1_000
_KIND_ROWS = 300
_MAX_VALUES = 4_000_000
_SINGLY = 500
"""Up to this many features each is tried missing separately; more are tried all at once."""
_INTEGERS = 10
_T = TypeVar("_T")


def rows_to_try(graph: ImportedGraph, sampled: F64 | None = None) -> tuple[F64, list[int]]:
    """Return rows [n, F] to run a graph on, and the column that is missing in each of the last rows.

    They are random, or some of a sample.
    """
    rng = np.random.default_rng(_SEED)
    if sampled is None:
        rows = _random(graph, graph.features, _TRIED_ROWS, rng)
    else:
        rows = sampled[np.unique(np.linspace(0, len(sampled) - 1, _TRIED_ROWS).astype(np.int64))]
    lacking = [column for column, may in enumerate(graph.may_lack) if may]
    if len(lacking) <= _SINGLY:
        return np.concatenate([rows, _without(rows, lacking, rng)]), lacking
    all_gone = np.repeat(rows[:1], len(lacking), axis=0) if len(lacking) * rows.shape[1] <= _MAX_VALUES else None
    if all_gone is None:
        return rows, []
    all_gone[:, lacking] = np.nan
    return np.concatenate([rows, all_gone]), lacking


def graph_rows(graph: ImportedGraph, features: Sequence[Feature], sampled: F64 | None) -> GoldenRows:
    """Return the golden rows of a graph, the same ones for the same graph and sample."""
    rng = np.random.default_rng(_SEED)
    most = max(16, _MAX_VALUES // len(features) // 4)
    random = _random(graph, features, min(_RANDOM_ROWS, most), rng)
    parts: list[tuple[str, F64]] = []
    backgrounds = random
    if sampled is not None and len(sampled):
        n_sampled = min(_SAMPLED_ROWS, most)
        backgrounds = sampled[np.unique(np.linspace(0, len(sampled) - 1, n_sampled).astype(np.int64))]
        parts.append(("sampled", backgrounds))
    parts.append(("random", random))
    nullable = [column for column, feature in enumerate(features) if feature.nullable]
    parts.append(("missing", _without(backgrounds, _spread(nullable, min(_KIND_ROWS, most)), rng)))
    pairs = [(column, code) for column, f in enumerate(features) for code in range(len(f.categories or ()))]
    parts.append(("categories", _with(backgrounds, _spread(pairs, min(_KIND_ROWS, most)), rng)))
    numbers = [(column, 0.0) for column, feature in enumerate(features) if feature.kind is not Kind.CATEGORICAL]
    parts.append(("zero", _with(backgrounds, _spread(numbers, min(_KIND_ROWS, most)), rng)))
    kinds = np.concatenate([np.full(len(rows), KINDS.index(kind), np.int8) for kind, rows in parts])
    table = np.ascontiguousarray(np.concatenate([rows for _, rows in parts]))
    return GoldenRows(SparseRows.of(table), kinds, Coverage())


def _random(graph: ImportedGraph, features: Sequence[Feature], count: int, rng: np.random.Generator) -> F64:
    rows = np.empty((count, len(features)))
    for column, feature in enumerate(features):
        match feature.kind:
            case Kind.CATEGORICAL:
                rows[:, column] = rng.integers(len(feature.categories or (0,)), size=count)
            case Kind.BOOLEAN:
                rows[:, column] = rng.integers(2, size=count)
            case Kind.INTEGER if graph.centres[column] == 0.0:
                rows[:, column] = rng.integers(_INTEGERS, size=count)
            case Kind.INTEGER | Kind.NUMERIC:
                size = graph.spreads[column] * rng.choice([0.3, 1.0, 3.0], count)
                values = graph.centres[column] + rng.normal(size=count) * size
                rows[:, column] = np.round(values) if feature.kind is Kind.INTEGER else values
    return rows


def _without(backgrounds: F64, columns: Sequence[int], rng: np.random.Generator) -> F64:
    return _with(backgrounds, [(column, np.nan) for column in columns], rng)


def _with(backgrounds: F64, pairs: Sequence[tuple[int, float]], rng: np.random.Generator) -> F64:
    rows: F64 = backgrounds[rng.integers(len(backgrounds), size=len(pairs))]
    for row, (column, value) in zip(rows, pairs, strict=True):
        row[column] = value
    return rows


def _spread(items: Sequence[_T], most: int) -> list[_T]:
    return [items[index] for index in np.unique(np.linspace(0, len(items) - 1, most).astype(np.int64))] if items else []
