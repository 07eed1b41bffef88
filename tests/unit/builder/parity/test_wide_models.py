"""Models of thousands of features: their golden rows share rows, their bundles stay in proportion, and nothing is left untested."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

import mlrf
from forests import visits
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.golden_rows import KINDS, golden_rows
from mlrf.core.bundle import read_bundle
from mlrf.core.forest import LEAF
from wide_models import wide_model_text

_FLOOR_BYTES = 1 << 20


def written(tmp_path, n_features, n_trees):
    path = tmp_path / "wide.txt"
    path.write_text(wide_model_text(n_features, n_trees))
    return path


def test_shared_rows_reach_every_node_of_a_wide_model(tmp_path, monkeypatch):
    forest = import_model(written(tmp_path, 600, 20)).forest
    limit = 2_000
    monkeypatch.setattr("mlrf.builder.parity.golden_rows.MAX_BYTES", limit * 8 * forest.n_features)
    found = golden_rows(forest, None, lambda _: None)
    inner = np.flatnonzero(forest.feature != LEAF).tolist()
    assert len(found.rows) <= limit < 4 * len(inner)
    assert found.coverage.nodes + found.coverage.unreachable == len(inner)
    assert {KINDS[k] for k in np.unique(found.kinds)} == {"random", "missing", "threshold", "zero"}
    edges = np.isin(found.kinds, [KINDS.index(k) for k in ("threshold", "missing", "zero")])
    seen = visits(forest, found.rows.dense()[edges])
    assert len(seen) == found.coverage.nodes
    # A column that the path tests too may leave a node no room on one side of its threshold, or for NaN.
    stood_on = [
        {t, math.nextafter(t, math.inf), math.nextafter(t, -math.inf)} <= values and None in values
        for t, values in ((float(forest.threshold[node]), values) for node, values in seen.items())
    ]
    assert np.mean(stood_on) > 0.95


def test_every_column_is_missing_once_where_a_row_lacks_several(tmp_path, monkeypatch):
    forest = import_model(written(tmp_path, 600, 2)).forest
    monkeypatch.setattr("mlrf.builder.parity.golden_rows.MAX_BYTES", 400 * 8 * forest.n_features)
    found = golden_rows(forest, None, lambda _: None)
    lacking = np.isnan(found.rows.dense()[found.kinds == KINDS.index("missing")])
    alone = lacking[np.count_nonzero(lacking, axis=1) < forest.n_features]
    assert np.all(np.any(alone, axis=0))


@pytest.mark.parametrize("blocks", [1, 3, 10**6])
def test_blocks_hold_the_rows_in_their_order(tmp_path, blocks):
    forest = import_model(written(tmp_path, 40, 3)).forest
    rows = golden_rows(forest, None, lambda _: None).rows.take(np.arange(0, 3_000, 7))
    whole = rows.dense()
    together = [table for _, table in rows.blocks(8 * 40 * blocks)]
    np.testing.assert_array_equal(np.concatenate(together), whole)
    np.testing.assert_array_equal(rows.take(np.array([5, 3])).dense(), whole[[5, 3]])


def test_a_wide_models_bundle_is_at_most_four_times_the_model(tmp_path):
    model = written(tmp_path, 800, 60)
    bundle = read_bundle(mlrf.build(model, tmp_path / "b", name="wide"))
    size = sum(entry.size_bytes for entry in bundle.manifest.files.values())
    assert size <= max(4 * model.stat().st_size, _FLOOR_BYTES)
    assert all(kind.rows == kind.bit_equal for kind in bundle.manifest.parity["trees"].values())


def test_out_of_memory_is_one_line_and_leaves_nothing(tmp_path):
    model = written(tmp_path, 400, 60)
    script = (
        "import sys, resource, numpy.random, mlrf, mlrf.builder.build\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), used + (8 << 20)))\n"
        "from mlrf.core.errors import BuildError\n"
        "try:\n"
        "    mlrf.build(sys.argv[1], sys.argv[2], name='wide')\n"
        "except BuildError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", script, str(model), str(tmp_path / "b")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "memory" in ended.stdout, ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["wide.txt"]
