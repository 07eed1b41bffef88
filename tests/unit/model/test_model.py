"""A model gives the same number for every form of input, and the engine refuses anything outside its contract."""

from __future__ import annotations

import math
import random
from array import array

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper

from bundles import ALL_KINDS, NUMBERS, margins_of, rows_of, write_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import (
    BundleError,
    ConfigError,
    FeatureCountError,
    InvalidFeatureError,
    InvalidRequestError,
    MissingFeatureError,
    NonFiniteResultError,
    UnknownFeatureError,
)
from mlrf.core.leniency import Leniency
from mlrf.core.manifest import LinkEntry
from mlrf.engines.selection import open_engine
from mlrf.model import load

LINKS = ["identity", "sigmoid", "exp", "signed_square", "log1p_exp"]
NUMBER = st.one_of(
    st.floats(allow_infinity=False), st.sampled_from([0.5, math.nextafter(0.5, 1), math.nextafter(0.5, 0), 0.0, -0.0])
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = {link: load(write_bundle(folder / link, schema=NUMBERS, link=LinkEntry(link))) for link in LINKS}
    made["softmax"] = load(
        write_bundle(
            folder / "softmax",
            schema=NUMBERS,
            task="multiclass",
            link=LinkEntry("softmax"),
            classes=["a", "b", "c"],
            n_outputs=3,
        )
    )
    made["raw"] = load(write_bundle(folder / "raw", schema=NUMBERS, task="raw", n_outputs=2))
    made["all kinds"] = load(write_bundle(folder / "kinds"))
    return made


def predictions(model, rows):
    """What a server answers for a batch."""
    return rows_of(model).predictions(model.engine.margins(rows_of(model).table(rows)))


@given(rows=st.lists(st.lists(st.one_of(st.none(), NUMBER), min_size=3, max_size=3), max_size=5))
def test_rows_in_one_buffer_are_the_rows_with_nan_for_missing(models, rows):
    expected = array("d", [math.nan if x is None else x for row in rows for x in row])
    assert rows_of(models["identity"]).table(rows).tobytes() == expected.tobytes()
    assert rows_of(models["identity"]).table([tuple(row) for row in rows]).tobytes() == expected.tobytes()


@given(row=st.lists(st.one_of(st.none(), NUMBER), min_size=3, max_size=3))
def test_the_engine_answers_what_the_trees_say(models, row):
    for name in ("identity", "softmax"):
        engine = models[name].engine
        expected = margins_of([math.nan if x is None else x for x in row], engine.n_outputs)
        assert engine.margin(row) == expected
        assert engine.margin(tuple(row)) == expected


@settings(max_examples=30)
@given(rows=st.lists(st.lists(NUMBER, min_size=3, max_size=3), min_size=1, max_size=40))
def test_rows_together_answer_as_each_alone_bit_for_bit(models, rows):
    for name in ("identity", "sigmoid", "softmax", "raw"):
        model = models[name]
        singles = [rows_of(model).predict_row(row) for row in rows]
        assert predictions(model, rows) == singles
        assert model.predict(np.array(rows)).tolist() == singles
        assert model.engine.margins(array("d", [x for row in rows for x in row])) == array(
            "d", [m for row in rows for m in model.engine.margin(row)]
        )


def test_request_forms_may_alternate(models):
    """Buffers are bound once: one answer must not show through another."""
    model, chance = models["identity"], random.Random(5)
    for _ in range(50):
        rows = [[chance.choice((0.0, 1.0, None)) for _ in range(3)] for _ in range(chance.randint(1, 5))]
        expected = [margins_of([math.nan if x is None else x for x in row])[0] for row in rows]
        assert predictions(model, rows) == expected
        assert [rows_of(model).predict_row(row) for row in rows] == expected
        assert (
            model.margin(np.array([[math.nan if x is None else x for x in row] for row in rows])).tolist() == expected
        )


def test_answers_given_out_do_not_change_later(models):
    engine = models["softmax"].engine
    first = engine.margin([1.0, 1.0, 1.0])
    kept = list(first)
    engine.margin([0.0, 0.0, 0.0])
    assert first == kept
    table = models["softmax"].margin(np.ones((1, 3)))
    kept = table.tolist()
    models["softmax"].margin(np.zeros((1, 3)))
    assert table.tolist() == kept


def test_tables_of_any_layout_are_rows(models):
    model = models["identity"]
    numbers = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    expected = [margins_of(row)[0] for row in numbers.tolist()]
    for table in (
        numbers,
        np.asfortranarray(numbers),
        numbers.astype(np.float32),
        numbers.astype(int),
        np.repeat(numbers, 2, axis=1)[:, ::2],
    ):
        assert model.predict(table).tolist() == expected
    assert model.predict(numbers.tolist()).tolist() == expected
    assert model.predict([dict(zip(NUMBERS.names, row, strict=True)) for row in numbers.tolist()]).tolist() == expected


def test_a_table_without_rows_has_no_answers(models):
    assert models["identity"].predict(np.empty((0, 3))).shape == (0,)
    assert models["softmax"].predict(np.empty((0, 3))).shape == (0, 3)
    assert models["identity"].predict([]).shape == (0,)
    assert predictions(models["identity"], []) == []


def test_instances_by_name_and_by_code_are_the_same(models):
    model, example = models["all kinds"], ALL_KINDS.example()
    expected = margins_of(ALL_KINDS.row(example))
    assert model.predict([example]).tolist() == model.predict([[9.5, 3, True, 1, 1, 7, 0.25]]).tolist() == expected


def test_a_table_that_does_not_fit_is_refused_by_row_and_feature(models):
    model, example = models["all kinds"], ALL_KINDS.example()
    with pytest.raises(InvalidFeatureError, match="row 1: feature 'count'") as refused:
        model.predict([example, example | {"count": "x"}])
    assert refused.value.details["row"] == 1
    with pytest.raises(MissingFeatureError):
        model.predict([{}])
    with pytest.raises(UnknownFeatureError):
        model.predict([example | {"colour": 1}])
    assert model.predict([example | {"colour": 1}], Leniency(unknown_features="ignore")).shape == (1,)
    for wrong in (np.zeros(7), np.zeros((1, 6)), np.zeros((1, 1, 7))):
        with pytest.raises(FeatureCountError):
            model.predict(wrong)
    for wrong in ("rows", b"rows", 3, None):
        with pytest.raises(InvalidRequestError):
            model.predict(wrong)


def test_infinite_result_is_refused_by_server_only(models):
    model = models["exp"]
    with pytest.raises(NonFiniteResultError):
        rows_of(model).predict_row([1e7, 0.0, 0.0])
    with pytest.raises(NonFiniteResultError) as refused:
        predictions(model, [[0.0] * 3, [1e7, 0.0, 0.0]])
    assert refused.value.details == {"index": 1}
    assert model.predict(np.array([[1e7, 0.0, 0.0]])).tolist() == [math.inf]


def test_label_is_class_1_at_half_and_first_of_ties(models, tmp_path):
    binary = load(write_bundle(tmp_path / "b", task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"]))
    assert [rows_of(binary).label_of(p) for p in (0.0, math.nextafter(0.5, 0), 0.5, 1.0)] == ["no", "no", "yes", "yes"]
    assert rows_of(binary).probabilities_of(0.25) == [0.75, 0.25]
    three = models["softmax"]
    assert [rows_of(three).label_of(p) for p in ([0.2, 0.4, 0.4], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8])] == ["b", "a", "c"]
    assert rows_of(models["identity"]).label_of(0.7) is None
    assert rows_of(models["identity"]).probabilities_of(0.7) is None


def graph(inputs, outputs, kind=TensorProto.DOUBLE, shape=(None, 3)):
    nodes = [helper.make_node("Identity", [inputs], [outputs])]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(inputs, kind, shape)],
        [helper.make_tensor_value_info(outputs, kind, shape)],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.parametrize(
    "model",
    [b"", b"no model", graph("x", "margin"), graph("features", "y"), graph("features", "margin", TensorProto.FLOAT),
     graph("features", "margin", shape=(None, None)), graph("features", "margin", shape=(None, 3, 1)), graph("features", "margin")],
    ids=["empty", "garbage", "input's name", "output's name", "type", "open shape", "rank", "outputs"],
)  # fmt: skip
def test_a_model_that_is_not_the_contracts_is_refused_by_file(tmp_path, model):
    path = write_bundle(tmp_path / "b", schema=NUMBERS, model=model)
    with pytest.raises(BundleError) as refused:
        load(path)
    assert refused.value.details["file"] == "model.onnx"


def test_an_unknown_engine_is_refused(bundle):
    with pytest.raises(ConfigError, match="onnxruntime"):
        load(bundle, engine="abacus")
    assert open_engine(read_bundle(bundle), "onnxruntime").name == "onnxruntime"


@pytest.mark.parametrize("location", ["secret", "../secret", "{}/secret"])
def test_external_data_is_not_read(tmp_path, monkeypatch, location):
    """A model file must not make the server read another one, wherever the server was started."""
    monkeypatch.chdir(tmp_path)
    location = location.format(tmp_path)
    weights = helper.make_tensor("w", TensorProto.DOUBLE, [3], [0.0, 0.0, 0.0])
    weights.ClearField("double_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "24")):
        weights.external_data.add(key=key, value=value)
    for folder in (tmp_path, tmp_path.parent):
        (folder / "secret").write_bytes(bytes(24))
    made = helper.make_graph(
        [helper.make_node("Add", ["features", "w"], ["margin"])],
        "g",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, 3])],
        [helper.make_tensor_value_info("margin", TensorProto.DOUBLE, [None, 3])],
        [weights],
    )
    content = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    path = write_bundle(tmp_path / "b", schema=NUMBERS, task="raw", n_outputs=3, model=content)
    with pytest.raises(BundleError):
        load(path)
