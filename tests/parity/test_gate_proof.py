"""The parity gate finds every single error in an export, unless no row can show it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.comparison import rounding_limit
from mlrf.builder.parity.exports import run_onnx, run_trees
from mlrf.builder.parity.gate import Exports, check_onnx_export, check_tree_export, prove
from mlrf.builder.parity.golden_rows import golden_rows
from mlrf.builder.parity.kept_rows import kept_rows
from mlrf.builder.parity.reference_runner import run_reference_library
from mlrf.core.errors import ParityError
from mlrf.core.schema import Schema
from models import data, train
from mutants import differs, mutated

KINDS = (
    "threshold up",
    "threshold down",
    "threshold far",
    "children",
    "default side",
    "missing rule",
    "category",
    "leaf",
)
MUTANTS_A_KIND = 25
MODELS = {
    "missing NaN": ("regression", {}),
    "missing zero": ("regression", {"zero_as_missing": True}),
    "missing none": ("binary", {"use_missing": False}),
    "multiclass": ("multiclass", {}),
    "random forest": ("regression", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}),
}


@pytest.fixture(scope="module", params=MODELS, ids=lambda name: name.replace(" ", "_"))
def proven(request):
    objective, options = MODELS[request.param]
    model = import_model(train(objective, data(3), **options))
    golden = golden_rows(model.forest, None, lambda _: None)
    kept = kept_rows(golden, n_outputs=model.forest.n_outputs, size_bytes=1 << 20)
    return model, Schema(model.features), golden, kept, run_reference_library(model, golden.rows, kept)


def test_the_right_export_passes_to_the_bit(proven):
    model, schema, golden, kept, answers = proven
    got = run_onnx(export_onnx(model.forest, model.link), golden.rows)
    parity = check_onnx_export(model, schema, golden, kept, answers, got)
    assert all(rows.rows == rows.bit_equal for rows in parity.values())
    assert golden.coverage.unreachable == 0
    assert golden.coverage.both_sides == golden.coverage.nodes == int(np.count_nonzero(model.forest.feature >= 0))


@pytest.mark.parametrize("what", KINDS)
def test_one_wrong_thing_fails_the_gate(proven, what):
    model, schema, golden, kept, answers = proven
    rng = np.random.default_rng(11)
    limit = rounding_limit(model.forest)
    caught = visible = 0
    for _ in range(MUTANTS_A_KIND):
        wrong, node = mutated(model.forest, rng, what)
        if not differs(model.forest, wrong, node, limit):
            continue
        visible += 1
        got = run_onnx(export_onnx(wrong, model.link), golden.rows)
        with pytest.raises(ParityError):
            check_tree_export(model, schema, golden, kept, answers, run_trees(encode_forest(wrong), golden.rows, kept))
        with contextlib.suppress(ParityError):
            check_onnx_export(model, schema, golden, kept, answers, got)
            continue
        caught += 1
    assert caught == visible
    assert visible or what in ("default side", "missing rule"), "no mutant of this kind could be seen"


@pytest.mark.parametrize("wrong_export", ["onnx", "forest"])
def test_parity_gate_refuses_and_says_where(proven, wrong_export):
    model, schema, *_ = proven
    wrong, _ = mutated(model.forest, np.random.default_rng(5), "children")
    of_onnx, of_trees = (wrong, model.forest) if wrong_export == "onnx" else (model.forest, wrong)
    exports = Exports(export_onnx(of_onnx, model.link), encode_forest(of_trees))
    message = r"margin differs from lightgbm's on \d+ of \d+ golden rows .*Nothing was written"
    with pytest.raises(ParityError, match=message) as caught:
        prove(model, exports, schema, sampled=None, progress=lambda *_: None)
    assert sum(caught.value.details["rows_off"].values()) > 0
    assert list(caught.value.details["worst"]["features"]) == list(schema.names)
