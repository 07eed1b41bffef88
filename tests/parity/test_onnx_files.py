"""ONNX files from elsewhere: the tree engine answers as ONNX Runtime does for the original file."""

import re

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

import mlrf
import onnx_files as files
from damaged_models import check_damaged_models
from library_answers import assert_library_agrees
from mlrf.builder.covers import routed_covers
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedGraph, ImportOptions
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BuildError, ModelUnreadableError, NotExplainableError, SampleError, UnsupportedModelError
from mlrf.core.forest import LEAF
from onnx_files import leaf, split

STUMP = split("BRANCH_LEQ", 0, 0.5, leaf((0, 1.0)), leaf((0, 2.0)))


def forest(seed, n=12, depth=4, outputs=(0,), **options):
    rng = np.random.default_rng(seed)
    return [files.grow(rng, depth, outputs, **options) for _ in range(n)]


def agrees(proto, folder, **options):
    model = import_model(proto)
    assert_library_agrees(model, folder, most=800, link_limit=1e-6, **options)
    return model


@pytest.mark.parametrize("mode", files.ORDER)
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
def test_every_order_and_aggregate(tmp_path, mode, aggregate):
    node = files.version_3(forest(1, modes=(mode,)), aggregate_function=aggregate, base_values=[0.37])
    model = agrees(files.model(node), tmp_path)
    assert (model.task, model.forest.rounding, model.covers) == ("regression", "float32", "none")


def test_mixed_modes_and_several_targets(tmp_path):
    node = files.version_3(forest(2, outputs=(0, 1, 2)), n_targets=3, base_values=[0.1, -3.0, 7.5])
    assert agrees(files.model(node), tmp_path).forest.n_outputs == 3


@pytest.mark.parametrize(
    ("outputs", "labels", "transform", "task", "link"),
    [
        ((0,), [0, 1], "LOGISTIC", "binary", "sigmoid"),
        ((0,), ["no", "yes"], "LOGISTIC", "binary", "sigmoid"),
        ((0,), [0, 1], "NONE", "raw", "identity"),
        ((0, 1), [5, 7], "SOFTMAX", "multiclass", "softmax"),
        ((0, 1, 2), ["a", "b", "c"], "SOFTMAX", "multiclass", "softmax"),
        ((0, 1, 2), [1, 2, 3], "LOGISTIC", "multiclass", "sigmoid_each"),
    ],
)
def test_classifiers(tmp_path, outputs, labels, transform, task, link):
    # ONNX Runtime drops one of two base values.
    base = {} if len(outputs) == 2 else {"base_values": [0.25 * k for k in range(1, len(outputs) + 1)]}
    node = files.version_3(forest(3, outputs=outputs), labels=labels, post_transform=transform, **base)
    model = agrees(files.model(node), tmp_path)
    assert (model.task, model.link.kind) == (task, link)
    assert model.classes == (None if task == "raw" else tuple(labels))


@pytest.mark.parametrize("one", [True, False], ids=["of the second", "of both"])
def test_shares_of_two_classes_are_one_margin(tmp_path, one):
    def shares(rng, depth):
        if depth == 0:
            p = float(np.float32(rng.random() / 8))
            return leaf((0, p)) if one else leaf((0, 0.125 - p), (1, p))
        return split(
            "BRANCH_LEQ",
            int(rng.integers(4)),
            float(np.float32(rng.normal())),
            shares(rng, depth - 1),
            shares(rng, depth - 1),
        )

    rng = np.random.default_rng(4)
    node = files.version_3([shares(rng, 3) for _ in range(8)], labels=["no", "yes"])
    zipped = helper.make_node("ZipMap", ["scores"], ["p"], domain=files.ML, classlabels_strings=["no", "yes"])
    types = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    named = helper.make_value_info("p", helper.make_sequence_type_proto(types))
    model = agrees(files.model(node, zipped, outputs=[named]), tmp_path)
    assert (model.task, model.classes, model.forest.n_trees, model.class_at_half) == ("binary", ("no", "yes"), 8, 0)


def test_a_margin_and_its_negative_are_one_margin(tmp_path):
    trees = [both(tree) for tree in forest(18)]
    model = agrees(files.model(files.version_3(trees, labels=["no", "yes"], post_transform="LOGISTIC")), tmp_path)
    assert (model.task, model.link.kind, model.classes) == ("binary", "sigmoid", ("no", "yes"))
    trees[3] = leaf((0, 1.0), (1, -0.5))
    model = import_model(files.model(files.version_3(trees, labels=["no", "yes"], post_transform="LOGISTIC")))
    assert (model.task, model.link.kind) == ("multiclass", "sigmoid_each")


def both(tree):
    """The tree with each leaf's number for the second class, and its negative for the first, as CatBoost writes them."""
    if "adds" in tree:
        ((_, value),) = tree["adds"]
        return leaf((0, -value), (1, value))
    return {**tree, "yes": both(tree["yes"]), "no": both(tree["no"])}


def test_a_map_without_a_type_is_taken_as_onnx_runtime_takes_it(tmp_path):
    node = files.version_3(forest(17, n=3), labels=["no", "yes"], post_transform="LOGISTIC")
    zipped = helper.make_node("ZipMap", ["scores"], ["p"], domain=files.ML, classlabels_strings=["no", "yes"])
    proto = files.model(node, zipped, outputs=[onnx.ValueInfoProto(name="p")])
    assert agrees(proto, tmp_path).classes == ("no", "yes")


@pytest.mark.parametrize("modes", [("BRANCH_EQ",), ("BRANCH_NEQ",), files.BY_VALUE])
def test_equality_is_a_category(tmp_path, modes):
    node = files.version_3(forest(5, modes=(*files.ORDER, *modes), categorical=(1, 3), tracks=False))
    model = agrees(files.model(node), tmp_path)
    assert [feature.kind.value for feature in model.features] == ["numeric", "categorical", "numeric", "categorical"]


def chain(codes, yes, no):
    for code in codes:
        no = split("BRANCH_EQ", 1, float(code), yes, no)
    return no


def test_a_chain_of_equalities_is_one_set(tmp_path):
    trees = [
        chain(range(40, 4, -3), t, split("BRANCH_LT", 0, 0.1, leaf((0, 3.0)), leaf((0, 4.0))))
        for t in forest(6, depth=2, modes=("BRANCH_LEQ",), n_features=1)
    ]
    model = agrees(files.model(files.version_3(trees)), tmp_path)
    assert [len(model.forest.category_codes(0)), len(model.forest.set_offsets) - 1] == [12, 1]
    assert model.forest.n_nodes <= 12 * (1 + 7 + 3)
    named = import_model(files.model(files.version_3(trees)), ImportOptions({"x1": [f"shop {i}" for i in range(41)]}))
    assert named.features[1].categories[40] == "shop 40"


@pytest.mark.parametrize("double", [True, False])
def test_version_5_with_sets(tmp_path, double):
    element = TensorProto.DOUBLE if double else TensorProto.FLOAT
    options = {"modes": ("BRANCH_LEQ", "BRANCH_MEMBER"), "categorical": (2,), "tracks": False}
    trees = [split("BRANCH_LEQ", 0, 0.0, *(forest(i, 2, 3, **options))) for i in range(8)]
    model = agrees(files.model(files.version_5(trees, double=double), inputs=[("x", element, 4)], ml=5), tmp_path)
    assert model.forest.inputs == ("float64" if double else "float32")
    assert len(model.forest.set_offsets) > 1


def test_inputs_by_name_and_type(tmp_path):
    inputs = [("age", TensorProto.INT64, 1), ("open", TensorProto.BOOL, 1), ("rest", TensorProto.DOUBLE, 2)]
    casts = [helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name, _, _ in inputs]
    joined = helper.make_node("Concat", ["age_f", "open_f", "rest_f"], ["x"], axis=1)
    model = agrees(files.model(*casts, joined, files.version_3(forest(7, tracks=False)), inputs=inputs), tmp_path)
    assert [(f.name, f.kind.value, f.nullable) for f in model.features] == [
        ("age", "integer", False),
        ("open", "boolean", False),
        ("rest_0", "numeric", True),
        ("rest_1", "numeric", True),
    ]


@pytest.mark.parametrize("link", ["Sigmoid", "Exp", None])
def test_arithmetic_and_a_link_after_the_sum(tmp_path, link):
    half = numpy_helper.from_array(np.array([0.3], np.float32), "half")
    nodes = [
        files.version_3(forest(8, n=3, depth=2)),
        helper.make_node("Mul", ["scores", "half"], ["m"]),
        helper.make_node("Add", ["m", "half"], ["s"]),
    ]
    if link:
        nodes.append(helper.make_node(link, ["s"], ["out"]))
    model = import_model(files.model(*nodes, constants=[half]))
    assert model.link.kind == {"Sigmoid": "sigmoid", "Exp": "exp", None: "identity"}[link]
    if link != "Exp":  # leaves in the hundreds: beyond float32
        agrees(files.model(*nodes, constants=[half]), tmp_path)


def hits_of(tree, rng):
    def down(node, rows):
        if "adds" in node:
            return [rows]
        yes = int(rng.integers(1, rows)) if rows > 1 else 0
        return [rows, *down(node["yes"], yes), *down(node["no"], rows - yes)]

    return [float(h) for h in down(tree, 1000)]


def test_covers_are_the_hit_rates_where_they_are_real(tmp_path):
    trees, rng = forest(9), np.random.default_rng(9)
    real = [h for tree in trees for h in hits_of(tree, rng)]
    model = agrees(files.model(files.version_3(trees, hits=real)), tmp_path)
    assert model.covers == "training"
    assert np.all(model.forest.cover[model.forest.tree_offsets[:-1]] == 1000)
    assert import_model(files.model(files.version_3(trees, hits=[1.0] * len(real)))).covers == "none"
    real[0] *= 2
    assert import_model(files.model(files.version_3(trees, hits=real))).covers == "none"


def test_estimated_covers_are_marked_in_the_bundle(tmp_path):
    trees = forest(10, n=4)
    (tmp_path / "model.onnx").write_bytes(files.model(files.version_3(trees)).SerializeToString())
    rng = np.random.default_rng(10)
    sample = pa.table({f"x{i}": rng.normal(size=500) for i in range(4)})
    bundle = mlrf.build(tmp_path / "model.onnx", tmp_path / "bundle", name="m", sample=sample)
    manifest = read_bundle(bundle).manifest
    assert (manifest.covers, manifest.library) == ("sample", "onnxruntime")
    assert any("500 sample rows" in note for note in manifest.notes)
    model, rows = mlrf.load(bundle), np.column_stack([column.to_numpy() for column in sample.columns])
    # The base of contributions is the mean over the rows that the covers are from.
    assert model.explain(rows[:5]).base == pytest.approx(float(np.mean(model.margin(rows))), rel=1e-4)


def test_explanations_need_covers(tmp_path):
    (tmp_path / "model.onnx").write_bytes(files.model(files.version_3(forest(11, n=3))).SerializeToString())
    model = mlrf.load(mlrf.build(tmp_path / "model.onnx", tmp_path / "bundle", name="m"))
    assert np.isfinite(model.predict(np.zeros((1, 4))))
    with pytest.raises(NotExplainableError, match=r"build it again with --sample"):
        model.explain(np.zeros((1, 4)))


def test_routed_covers_follow_the_engines_rules(tmp_path):
    trees = forest(12, modes=(*files.ORDER, *files.BY_VALUE), categorical=(1,))
    model = import_model(files.model(files.version_3(trees)))
    rows = np.random.default_rng(12).integers(-3, 9, (300, 4)).astype(float)
    rows[::7, 1] = np.nan
    found = routed_covers(model.forest, rows)
    inner = model.forest.feature != LEAF
    assert np.all(found[inner] == found[model.forest.left[inner]] + found[model.forest.right[inner]])
    mean = sum(
        float(np.dot(found[a:b], model.forest.value[a:b])) / 300
        for a, b in zip(model.forest.tree_offsets[:-1], model.forest.tree_offsets[1:], strict=True)
    )
    from mlrf.builder.importers.onnx_trees.reference import answer  # noqa: PLC0415

    (tmp_path / "model").write_bytes(model.source)
    answers, _, _ = answer(tmp_path / "model", rows, rows[:1], dict(model.settings), 1)
    assert mean == pytest.approx(float(answers.mean()), rel=1e-5)


def external():
    outside = numpy_helper.from_array(np.array([0.5], np.float32), "w")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../etc/passwd")
    return files.model(files.version_3([STUMP]), helper.make_node("Mul", ["scores", "w"], ["y"]), constants=[outside])


def behind(operator, **options):
    return files.model(files.version_3([STUMP]), helper.make_node(operator, ["scores"], ["y"], **options))


def before(operator, **options):
    node = files.version_3([STUMP])
    node.input[0] = "made"
    return files.model(helper.make_node(operator, ["x"], ["made"], **options), node)


SCORES = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, None])


def second():
    node = files.version_3([STUMP])
    node.output[0] = "unused"
    return node


def circle():
    node = files.version_5([split("BRANCH_LEQ", 0, 0.5, STUMP, leaf((0, 1.0)))], double=False)
    for attribute in node.attribute:
        if attribute.name == "nodes_truenodeids":
            attribute.ints[1] = 0
        if attribute.name == "nodes_trueleafs":
            attribute.ints[1] = 0
    return files.model(node, ml=5)


REFUSED = {
    "external data": (external, "external data.*save it in one file"),
    "a name of two lines": (
        lambda: files.model(helper.make_node("Re\nlu", ["x"], ["y"])),
        "No Op registered for Re",
    ),
    "strings": (
        lambda: files.model(files.version_3([STUMP]), inputs=[("x", TensorProto.STRING, 4)]),
        "'x0' of the ONNX model is a string.*--categories",
    ),
    "a circle": (circle, "a node has two parents"),
    "labels alone": (
        lambda: files.model(
            files.version_3([STUMP], labels=[0, 1], post_transform="LOGISTIC"),
            outputs=[helper.make_tensor_value_info("label", TensorProto.INT64, [None])],
        ),
        "only output of the ONNX model is labels",
    ),
}

NOT_TREES_ALONE = {
    "no trees": (lambda: files.model(helper.make_node("Relu", ["x"], ["y"])), "it has no trees"),
    "a normalizer before": (
        lambda: before("Normalizer", domain=files.ML, norm="L2"),
        "step Normalizer is not one of those",
    ),
    "an operator behind": (lambda: behind("Relu"), "operator Relu besides its trees"),
    "MIN": (lambda: files.model(files.version_3([STUMP], aggregate_function="MIN")), "aggregates its trees by MIN"),
    "two base values": (
        lambda: files.model(files.version_3([STUMP], labels=[0, 1], base_values=[0.1, 0.2])),
        "a base value for each",
    ),
    "PROBIT": (lambda: files.model(files.version_3([STUMP], post_transform="PROBIT")), "post_transform is PROBIT"),
    "two ensembles": (
        lambda: files.model(files.version_3([STUMP]), second(), outputs=[SCORES]),
        "2 tree ensembles",
    ),
    "double": (
        lambda: files.model(files.version_3([STUMP]), inputs=[("x", TensorProto.DOUBLE, 4)]),
        "computes in float",
    ),
    "both": (
        lambda: files.model(files.version_3([split("BRANCH_EQ", 0, 1.0, STUMP, leaf((0, 1.0)))])),
        "column 0 both for equality.*and by order",
    ),
    "a fraction": (
        lambda: files.model(files.version_3([split("BRANCH_EQ", 0, 1.5, leaf((0, 1.0)), leaf((0, 2.0)))])),
        "equality with 1.5",
    ),
}


@pytest.mark.parametrize("what", NOT_TREES_ALONE)
def test_unsupported_tree_models_become_graphs_with_reason(what):
    make, reason = NOT_TREES_ALONE[what]
    model = import_model(make())
    assert isinstance(model, ImportedGraph)
    assert any(re.search(f"not on the tree engine: .*{reason}", note) for note in model.notes), model.notes


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_served_is_refused_by_name(tmp_path, what):
    make, reason = REFUSED[what]
    (tmp_path / "model.onnx").write_bytes(make().SerializeToString())
    with pytest.raises(BuildError, match=reason) as caught:
        mlrf.build(tmp_path / "model.onnx", tmp_path / "bundle", name="m")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_options_that_do_not_fit_are_refused():
    model = files.model(files.version_3([split("BRANCH_EQ", 1, 3.0, STUMP, leaf((0, 1.0)))]))
    for import_options, reason in (
        (ImportOptions({"nowhere": ["a"]}), "not a feature of the model"),
        (ImportOptions({"x0": ["a"]}), "uses it as a number"),
        (ImportOptions({"x1": ["a", "b"]}), "code 3, but only 2"),
        (ImportOptions(classes=("a", "b")), "not a classifier"),
    ):
        with pytest.raises(SampleError, match=reason):
            import_model(model, import_options)


def test_what_is_cut_off_or_no_model_is_refused(tmp_path):
    whole = files.model(files.version_3(forest(13, n=3))).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnreadableError, match="damaged or cut off"):
        import_model(path)
    path.write_bytes(whole.replace(b"TreeEnsembleRegressor", b"\xffreeEnsembleRegressor"))  # no UTF-8
    with pytest.raises(BuildError):
        import_model(path)
    path.write_bytes(b"")
    with pytest.raises(ModelUnreadableError, match="empty"):
        import_model(path)
    with pytest.raises(UnsupportedModelError, match="from GraphProto"):
        import_model(onnx.GraphProto())


def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path):
    kinds = [
        files.version_3(forest(14, n=3)),
        files.version_3(forest(15, n=3, outputs=(0, 1)), labels=["a", "b"], post_transform="SOFTMAX"),
        files.version_3(forest(16, n=3, modes=files.ORDER + files.BY_VALUE, categorical=(1,))),
    ]
    whole = [files.model(node).SerializeToString() for node in kinds]
    check_damaged_models(tmp_path / "model.onnx", whole, 300)


@pytest.mark.parametrize("seed", range(20))
def test_random_files_are_onnx_runtimes(tmp_path, seed):
    rng = np.random.default_rng(100 + seed)
    categorical = tuple(int(f) for f in rng.choice(4, rng.integers(0, 3), replace=False))
    modes = (*files.ORDER, *files.BY_VALUE)
    k = int(rng.integers(1, 4))
    trees = [
        files.grow(
            rng,
            int(rng.integers(0, 6)),
            range(k) if rng.random() < 0.5 else (t % k,),
            modes=modes,
            categorical=categorical,
        )
        for t in range(int(rng.integers(1, 90)))
    ]
    base = {"base_values": [float(np.float32(b)) for b in rng.normal(size=k)]} if rng.random() < 0.5 else {}
    node = files.version_3(trees, n_targets=k, aggregate_function=str(rng.choice(["SUM", "AVERAGE"])), **base)
    assert_library_agrees(import_model(files.model(node)), tmp_path, onnx=False, most=400)
