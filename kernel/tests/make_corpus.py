"""Write forests with reference results for the kernel's own tests: `python make_corpus.py DIRECTORY` (src and tests on the
path).

Each case is NAME.forest and NAME.answers: u64 n, F, K, n explained; then rows [n, F], margins [n, K], contributions [e, F, K].
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np

import naive_forest as naive
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.core.category_hash import HASHED_CODE
from mlrf.core.forest import NOT_NEGATIVE, Forest
from mlrf.core.table_columns import PartKind
from split_forests import forest_of_splits

N_ROWS = 150
N_EXPLAINED = 6
WIDE_THRESHOLDS = 66_000


def make_wide(rng: np.random.Generator) -> Forest:
    """Return a forest with more thresholds of one feature than 16-bit ranks hold."""
    forest = naive.make_forest(rng, n_features=1, n_trees=66, max_leaves=1000, category_share=0.0)
    splits = np.flatnonzero(forest.feature == 0)
    while len(splits) < WIDE_THRESHOLDS:
        forest = naive.make_forest(
            rng, n_features=1, n_trees=len(forest.tree_output) * 2, max_leaves=1000, category_share=0.0
        )
        splits = np.flatnonzero(forest.feature == 0)
    forest.threshold[splits] = rng.permutation(np.linspace(-4.0, 4.0, len(splits)))
    return forest


def write_case(directory: Path, name: str, forest: Forest, rng: np.random.Generator, n_rows: int = N_ROWS) -> None:
    """Write one case."""
    write_answers(directory, name, forest, naive.make_rows(rng, forest, n_rows))


def write_answers(directory: Path, name: str, forest: Forest, rows: np.ndarray) -> None:
    """Write one case of these rows."""
    n_rows = len(rows)
    margins = np.array([naive.margins(forest, row) for row in rows])
    n_explained = (
        0 if name == "wide" or forest.linear is not None or forest.rounding == "float32" else min(N_EXPLAINED, n_rows)
    )
    contributions = np.array([naive.contributions(forest, row) for row in rows[:n_explained]])
    (directory / f"{name}.forest").write_bytes(encode_forest(forest))
    head = struct.pack("<4Q", n_rows, forest.n_features, forest.n_outputs, n_explained)
    (directory / f"{name}.answers").write_bytes(head + rows.tobytes() + margins.tobytes() + contributions.tobytes())


def main() -> None:
    """Write every case."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2024)
    make = naive.make_forest
    write_case(directory, "small", make(rng, n_trees=5, max_leaves=6), rng)
    write_case(directory, "bytes", make(rng, n_trees=40, max_leaves=40, n_outputs=3, divisor=3.0), rng)
    write_case(directory, "float32", make(rng, n_trees=20, max_leaves=20, rounding="float32", inputs="float32"), rng)
    rules = {"inputs": "float32", "base_order": "last", "scale": -0.3, "no_code_up_to": NOT_NEGATIVE}
    write_case(directory, "rounded", make(rng, n_trees=20, max_leaves=20, n_outputs=2, **rules), rng)
    write_case(directory, "all32", make(rng, n_trees=20, max_leaves=20, rounding="float32", divisor=7.0, **rules), rng)
    further = {"n_features": 3, "n_thresholds": 2000, "category_share": 0.2}
    write_case(directory, "bytes-further", make(rng, n_trees=40, max_leaves=200, **further), rng)
    write_case(directory, "symmetric", make(rng, n_trees=4, max_leaves=8, symmetric_share=1.0), rng, 150)
    write_case(directory, "words", make(rng, n_trees=3, max_leaves=900, n_features=3, n_codes=127), rng)
    write_case(directory, "dense", make(rng, n_trees=10, max_leaves=30, n_codes=126, category_share=1.0), rng)
    write_case(directory, "walked", make(rng, n_trees=2, max_leaves=1400, n_features=3, is_chain=True), rng, 20)
    write_case(directory, "deep", make(rng, n_trees=3, max_leaves=80, n_features=60, is_chain=True), rng, 20)
    write_case(directory, "leaves", make(rng, n_trees=4, max_leaves=1), rng)
    for n in (16, 32, 240, 256, 508, 4096):  # whole nodes and bytes of thresholds, and values above all of them
        splits = np.arange(n, dtype=np.float64)
        write_answers(
            directory, f"thresholds-{n}", forest_of_splits(splits), np.linspace(-1.5, n + 1.5, N_ROWS)[:, None]
        )
    tabled = make(rng, n_trees=20, max_leaves=20, n_outputs=2, inputs="float32", category_share=0.2)
    write_case(directory, "tables", naive.with_tables(tabled, rng), rng)
    wide_tables = naive.with_tables(make(rng, n_trees=3, max_leaves=80, n_features=30, is_chain=True), rng, 9, 40)
    write_case(directory, "tables-deep", wide_tables, rng, 20)
    for name, n_codes, leaves in (("tables-symmetric", 6, 32), ("tables-searched", 70, 32), ("tables-words", 12, 1024)):
        symmetric = make(rng, n_trees=9, max_leaves=leaves, category_share=0.2, symmetric_share=1.0)
        write_case(directory, name, naive.with_tables(symmetric, rng, 30, n_codes), rng, 150)
    linear = naive.with_linear_leaves(make(rng, n_trees=20, max_leaves=20, n_outputs=2, divisor=3.0), rng)
    write_case(directory, "linear", linear, rng)
    write_case(directory, "wide", make_wide(rng), rng, 10)
    # Keys without conditions, and one row of a block whose category is not listed: the first beyond an empty array of flags.
    symmetric = make(rng, n_trees=9, max_leaves=32, category_share=0.2, symmetric_share=1.0)
    forest = naive.with_tables(symmetric, rng, 30, 6, [PartKind.CATEGORY])
    rows = naive.make_rows(rng, forest, N_ROWS)
    for feature in forest.tables.hashes:
        rows[:, feature] = 0
        rows[64, feature] = HASHED_CODE
    write_answers(directory, "tables-categories", forest, rows)


if __name__ == "__main__":
    main()
