"""ONNX files that are more than trees: served answers equal ONNX Runtime's own for the file to the bit."""

import random

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import graph_models as models
import mlrf
from bundles import rows_of
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedGraph, ImportOptions
from mlrf.core.bundle import read_bundle
from mlrf.core.compatibility import contract_changes
from mlrf.core.errors import BuildError, ConfigError, NonFiniteResultError, NotExplainableError, UnsupportedModelError
from mlrf.core.manifest import ModelFacts
from mlrf.engines.selection import open_engine
from mlrf.model.replay import replay

OF_FRAME = ("pipeline", "strict pipeline", "codes and classes")


def built(proto, folder, **options):
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return mlrf.load(mlrf.build(folder / "model.onnx", folder / "bundle", name="m", **options))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The models of `MAKERS` by name, each built once."""
    done = {}

    def find(name):
        if name not in done:
            done[name] = built(models.made(name)[1], tmp_path_factory.mktemp("graph"))
        return done[name]

    return find


def direct(proto, feed):
    """ONNX Runtime with default settings, a row at a time: labels where there are some, and numbers [n, C]."""
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    labels, numbers = [], []
    for index in range(len(next(iter(feed.values())))):
        found = session.run(None, {name: values[index : index + 1] for name, values in feed.items()})
        labels.append(np.asarray(found[0]).reshape(-1).tolist()[0] if len(found) > 1 else None)
        last = found[-1]
        numbers.append(
            [last[0][key] for key in sorted(last[0])] if isinstance(last, list) else last.reshape(-1).tolist()
        )
    return labels, np.array(numbers, np.float64)


@pytest.mark.parametrize("name", models.MAKERS)
def test_served_graph_equals_onnx_runtime(served, name):
    estimator, proto = models.made(name)
    rows = models.frame() if name in OF_FRAME else models.numbers()
    model = served(name)
    labels, numbers = direct(proto, models.direct_feed(proto, rows))
    answers = model.predict(rows if name in OF_FRAME else rows.astype(np.float64))
    if model.bundle.manifest.task == "binary":
        numbers = numbers[:, 1]
    assert np.array_equal(answers.reshape(len(rows), -1), numbers.reshape(len(rows), -1))
    assert [rows_of(model).predict_row(row) for row in _rows(model, rows)] == answers.tolist()
    if model.classes is not None:
        assert [rows_of(model).label_of(answer) for answer in answers.tolist()] == labels
        assert model.classes == estimator.classes_.tolist()
    if name not in ("neighbours", "scores of support vectors"):  # whose ties, and whose scores, are not its answers
        expected = estimator.predict_proba(rows) if model.classes is not None else estimator.predict(rows)
        expected = expected[:, 1] if model.bundle.manifest.task == "binary" else expected
        assert np.allclose(answers.reshape(expected.shape), expected, rtol=1e-3, atol=1e-4)
    assert (model.bundle.path / "model.onnx").read_bytes() == proto.SerializeToString()
    assert replay(rows_of(model)) >= 16
    kinds = model.bundle.manifest.parity["onnxruntime"]
    assert all(rows.bit_equal == rows.rows > 0 for rows in kinds.values())
    with pytest.raises(NotExplainableError, match="graph of operators"):
        model.explain(rows[:1])


def _rows(model, rows):
    if isinstance(rows, np.ndarray):
        return rows.astype(np.float64).tolist()
    plain = [{k: None if v != v else v for k, v in row.items()} for row in rows.to_dict("records")]  # noqa: PLR0124
    return [model.schema.row(row) for row in plain]


def test_columns_come_by_name_and_type_with_what_the_file_knows(served):
    model = served("pipeline")
    features = {f.name: (f.kind.value, f.nullable, f.categories) for f in model.schema.features}
    assert features == {
        "age": ("numeric", True, None),
        "fare": ("numeric", True, None),
        "city": ("categorical", True, tuple(sorted(models.CITIES))),
        "plan": ("categorical", True, ("basic", "plus")),
        "visits": ("integer", False, None),
    }
    assert model.schema.example()["age"] == pytest.approx(40, abs=5)
    manifest = model.bundle.manifest
    assert (manifest.graph.keys, manifest.base, manifest.facts, manifest.format) == (["leaves", "stays"], [], None, 2)
    assert "on ONNX Runtime as it is, without explanations" in " ".join(manifest.notes)


def test_unknown_category_follows_the_encoder_or_is_refused(served):
    lenient = served("pipeline")
    row = lenient.schema.example() | {"city": None}
    session = ort.InferenceSession(models.made("pipeline")[1].SerializeToString())
    feed = models.direct_feed(models.made("pipeline")[1], models.pd.DataFrame([row | {"city": "Bonn"}]))
    (found,) = session.run(["output_probability"], feed)
    assert rows_of(lenient).predict_row(lenient.schema.row(row)) == found[0]["stays"]
    strict = served("strict pipeline")
    assert [f.nullable for f in strict.schema.features if f.categories] == [False, False]
    # A code without a category passes the schema but has no answer; the graph is not run for it.
    with pytest.raises(NonFiniteResultError):
        rows_of(strict).predict_row([40.0, 10.0, 7.0, 0.0, 3])


def test_every_type_of_input(tmp_path):
    model = built(models.several_types(), tmp_path)
    assert [(f.name, f.kind.value) for f in model.schema.features] == [
        ("small", "integer"),
        ("big", "integer"),
        ("on", "boolean"),
        ("exact_0", "numeric"),
        ("exact_1", "numeric"),
    ]
    assert model.bundle.manifest.precision == "float64"
    assert rows_of(model).predict_row([3, 2, 1, 0.1, 0.3]) == 3 + 20 + 0.5 + 0.25 * 0.1 + 0.125 * 0.3
    # The nearest number that the type has; none at all for what has no number.
    assert rows_of(model).predict_row([1e9, 0, 0, 0.0, 0.0]) == 127
    assert np.isnan(model.engine.margin([np.nan, 0, 0, 0.0, 0.0])[0])


@pytest.mark.parametrize(
    ("last", "n_out", "options", "task", "classes"),
    [
        (None, 3, {}, "regression", None),
        ("Softmax", 3, {"classes": ["a", "b", "c"]}, "multiclass", ["a", "b", "c"]),
        ("Softmax", 3, {}, "multiclass", [0, 1, 2]),
        ("Sigmoid", 1, {"classes": ["no", "yes"]}, "binary", ["no", "yes"]),
        ("Softmax", 2, {"task": "raw"}, "raw", None),
    ],
)
def test_a_plain_network_is_what_its_end_and_the_caller_say(tmp_path, last, n_out, options, task, classes):
    proto = models.dense(4, 8, n_out, last=last)
    model = built(proto, tmp_path, feature_names=["a", "b", "c", "d"], **options)
    assert (model.bundle.manifest.task, model.classes, model.schema.names) == (task, classes, ("a", "b", "c", "d"))
    rows = models.numbers(50, 4)
    _, numbers = direct(proto, {"x": rows})
    assert np.array_equal(model.predict(rows.astype(np.float64)).reshape(50, -1), numbers)


def test_a_network_for_one_row_at_a_time_answers_batches(tmp_path):
    model = built(models.dense(4, 8, 2, batch=1), tmp_path)
    rows = models.numbers(20, 4).astype(np.float64)
    assert model.predict(rows).tolist() == [rows_of(model).predict_row(row) for row in rows.tolist()]


def test_caller_lists_strings_that_the_file_lacks(tmp_path):
    nodes = [
        helper.make_node("Equal", ["s", "a"], ["is"]),
        helper.make_node("Cast", ["is"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = models.network(
        *nodes,
        inputs=[("s", TensorProto.STRING, ["n", 1])],
        outputs=[("y", TensorProto.FLOAT, ["n", 1])],
        constants=[("a", np.array(["a"], object))],
    )
    with pytest.raises(UnsupportedModelError, match=r"'x0' .* is a string.*--categories"):
        import_model(proto)
    model = built(proto, tmp_path, categories={"x0": ["b", "a"]})
    assert model.predict([{"x0": "a"}, {"x0": "b"}, {"x0": None}]).tolist() == [1.0, 0.0, 0.0]


def loop():
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    return one("Loop", ["", "yes", "x"], body=body, constants=[("yes", np.array(True))])


def one(operator, names=("x",), *, constants=(), domain="", shape=("n", 4), outputs=("y",), **attributes):
    node = helper.make_node(operator, list(names), list(outputs), domain=domain, **attributes)
    return models.network(
        node,
        inputs=[("x", TensorProto.FLOAT, list(shape))],
        outputs=[(name, TensorProto.FLOAT, [None] * len(shape)) for name in outputs],
        constants=constants,
    )


def within(attribute_holder):
    """Hide external data in a graph within the graph."""
    outside = numpy_helper.from_array(np.array([0.5], np.float32), "w")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../etc/passwd")
    attribute_holder.graph.node[0].attribute[0].g.initializer.append(outside)
    return attribute_holder


def foreign():
    proto = one("CDist", domain="com.microsoft")
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


REFUSED = {
    "a loop": (loop, {}, "a Loop, which may never end"),
    "external data within": (lambda: within(loop()), {}, "external data"),
    "an operator of others": (foreign, {}, "CDist of 'com.microsoft'"),
    "chance": (lambda: one("RandomNormalLike"), {}, "draws random numbers"),
    "images": (lambda: one("Relu", shape=("n", 3, 8, 8)), {}, "has 4 dimensions"),
    "four rows at a time": (lambda: one("Relu", shape=(4, 4)), {}, "takes 4 rows at a time"),
    "any width": (lambda: one("Relu", shape=("n", "f")), {}, "--feature-names a,b,c"),
    "several answers": (lambda: one("Split", axis=1, num_outputs=2, outputs=("y", "z")), {}, "2 outputs of numbers"),
    "names too few": (lambda: models.dense(4, 8, 1), {"feature_names": ["a"]}, "1 feature names are given.* 4 columns"),
    "a class too few": (
        lambda: models.dense(4, 8, 3),
        {"classes": ["a", "b"]},
        "3 classes, each of which needs its own label",
    ),
    "no probabilities": (lambda: models.dense(4, 8, 3), {"task": "multiclass"}, "not probabilities.*--task raw"),
    "another task": (lambda: models.dense(4, 8, 3, last="Softmax"), {"task": "binary"}, "3 numbers a row: multiclass"),
    "no task": (lambda: models.dense(4, 8, 3), {"task": "magic"}, "the task must be one of"),
    "labels by vote": (
        models.machine_whose_labels_are_votes,
        {},
        "labels are not those of its largest probabilities.*SVC",
    ),
    "no explanations": (
        lambda: models.dense(4, 8, 1),
        {"explain": True, "key": ["id"], "features": "rows.parquet"},
        "cannot be explained",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_served_is_refused_by_name(tmp_path, what):
    make, options, reason = REFUSED[what]
    (tmp_path / "model.onnx").write_bytes(make().SerializeToString())
    with pytest.raises(BuildError, match=reason) as caught:
        mlrf.build(tmp_path / "model.onnx", tmp_path / "bundle", name="m", **options)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_votes_of_support_vectors_are_served_as_numbers(tmp_path):
    model = built(models.machine_whose_labels_are_votes(), tmp_path, task="raw")
    assert (model.classes, len(rows_of(model).predict_row(models.numbers()[0].tolist()))) == (None, 3)


def test_tree_ensemble_refuses_a_task(tmp_path):
    import onnx_files as files  # noqa: PLC0415

    trees = files.model(
        files.version_3([files.split("BRANCH_LEQ", 0, 0.5, files.leaf((0, 1.0)), files.leaf((0, 2.0)))])
    )
    with pytest.raises(BuildError, match="a tree ensemble defines its own"):
        import_model(trees, ImportOptions(task="raw"))
    assert import_model(trees, ImportOptions(feature_names=("a", "b", "c", "d"))).features[3].name == "d"


def test_the_tree_engine_is_refused_by_name(served):
    with pytest.raises(ConfigError, match="a graph of operators, not a forest"):
        open_engine(served("pipeline").bundle, "trees")


def test_lost_explanations_are_a_reported_change(served):
    graph = served("pipeline").bundle
    manifest = msgspec.structs.replace(graph.manifest, graph=None, facts=ModelFacts(1, 2, 1, 0), covers="training")
    forest = msgspec.structs.replace(graph, manifest=manifest)
    assert contract_changes(forest, graph) == [
        "explanations are no longer available: the model is a graph of operators"
    ]
    assert contract_changes(graph, forest) == []


def test_the_same_file_gives_the_same_bundle(served, tmp_path):
    assert built(models.made("pipeline")[1], tmp_path).bundle.version == served("pipeline").bundle.version


def test_engine_with_different_answers_is_refused(tmp_path, monkeypatch):
    from mlrf.engines.onnx_graph import GraphEngine  # noqa: PLC0415

    honest = GraphEngine.margin
    monkeypatch.setattr(GraphEngine, "margin", lambda self, row: [np.nextafter(x, 9.0) for x in honest(self, row)])
    with pytest.raises(BuildError, match=r"margin differs from onnxruntime's on .* golden rows"):
        built(models.dense(4, 8, 1), tmp_path)


def test_sample_gives_kinds_and_is_verified(tmp_path):
    model = built(models.made("pipeline")[1], tmp_path, sample=models.frame().assign(target=1))
    assert model.bundle.manifest.parity["onnxruntime"]["sampled"].rows == len(models.frame())
    assert model.schema.example()["city"] in models.CITIES


def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path):
    whole = [models.made(name)[1].SerializeToString() for name in ("pipeline", "normalizer and forest")]
    whole.append(models.several_types().SerializeToString())
    draw, path, n_run = random.Random(1), tmp_path / "model.onnx", 0
    for number in range(200):
        damaged = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            model = import_model(path)
            if isinstance(model, ImportedGraph) and n_run < 2 and number > 20:
                n_run += 1
                mlrf.build(path, tmp_path / f"b{number}", name="m")
                read_bundle(tmp_path / f"b{number}")
        except BuildError as error:
            assert "\n" not in str(error)
    assert n_run == 2
