"""treelite checkpoints: GTIL's own answers to the bit, names and labels that a caller gives, damaged files."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier

import mlrf
import treelite_models
from mlrf.builder.covers import with_covers
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.builder.parity.exports import run_onnx, run_trees
from mlrf.builder.parity.golden_rows import golden_rows
from mlrf.core.errors import BuildError, ModelUnreadableError, SampleError, UnsupportedModelError

treelite = pytest.importorskip("treelite")


def answers(model, rows, **options):
    number = np.float32 if model.settings["is_single"] else np.float64
    with np.errstate(over="ignore"):
        given = np.ascontiguousarray(rows, number)
    loaded = treelite.Model.deserialize_bytes(model.source)
    return np.asarray(treelite.gtil.predict(loaded, given, **options), np.float64).reshape(len(rows), -1)


@pytest.mark.parametrize("source", treelite_models.SOURCES)
def test_margins_are_gtils_to_the_bit(source):
    model = import_model(treelite_models.checkpoint(source))
    rows = golden_rows(model.forest, None, lambda _: None).rows.dense()
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, 2000).astype(int))]
    kept = np.arange(0, len(rows), 10)
    expected = answers(model, rows, pred_margin=True)
    got = run_trees(encode_forest(model.forest), rows, kept)
    np.testing.assert_array_equal(got.margins, expected)
    np.testing.assert_array_equal(got.single, expected[kept])
    assert got.additivity_gap <= 1e-9
    predicted = answers(model, rows)
    linked = np.array([model.link.vector()(row) for row in got.margins.tolist()])
    np.testing.assert_allclose(linked, predicted, rtol=1e-6, atol=1e-6 * np.abs(predicted).mean())
    margins, _ = run_onnx(export_onnx(model.forest, model.link), rows)
    np.testing.assert_allclose(margins, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).mean())


@pytest.mark.parametrize("source", ["xgboost multi:softprob", "xgboost binary:logistic", "sklearn classes"])
def test_a_file_is_built_with_the_names_and_labels_given(source, tmp_path):
    given = treelite_models.checkpoint(source)
    path = tmp_path / "model.bin"
    given.serialize(str(path))
    width = import_model(path).forest.n_features
    names = [f"column {index}" for index in range(width)]
    classes = ["no", "yes"] if "binary" in source else ["low", "middle", "high"]
    rows = np.random.default_rng(0).normal(size=(50, width)).round(1)
    served = mlrf.load(mlrf.build(path, tmp_path / "b", name="m", feature_names=names, classes=classes))
    assert [feature.name for feature in served.schema.features] == names
    assert served.bundle.manifest.classes == classes
    assert served.bundle.manifest.library == "treelite"
    np.testing.assert_array_equal(
        served.margin(rows).reshape(50, -1), answers(import_model(path), rows, pred_margin=True)
    )


def test_leaves_are_numbered_as_gtil_does(tmp_path):
    model = import_model(treelite_models.checkpoint("xgboost multi:softprob"))
    served = mlrf.load(mlrf.build(treelite_models.checkpoint("xgboost multi:softprob"), tmp_path / "b", name="m"))
    rows = np.random.default_rng(1).normal(size=(30, 5))
    np.testing.assert_array_equal(served.leaves(rows), leaf_ids(model, rows))


def leaf_ids(model, rows):
    loaded = treelite.Model.deserialize_bytes(model.source)
    return np.asarray(treelite.gtil.predict_leaf(loaded, np.ascontiguousarray(rows, np.float32)))


def test_categories_take_the_names_given():
    given = treelite_models.checkpoint("xgboost categories")
    unnamed = import_model(given)
    assert unnamed.features[4].categories is None
    many = [f"c{index}" for index in range(40)]
    assert import_model(given, ImportOptions({"f4": many})).features[4].categories == tuple(many)
    with pytest.raises(SampleError, match="only 2 categories are listed"):
        import_model(given, ImportOptions({"f4": ["a", "b"]}))
    with pytest.raises(SampleError, match="it is a number; leave its list out"):
        import_model(given, ImportOptions({"f0": ["a", "b"]}))
    with pytest.raises(SampleError, match="3 feature names are given for a model of 5"):
        import_model(given, ImportOptions(feature_names=("a", "b", "c")))
    with pytest.raises(SampleError, match="defines its own"):
        import_model(given, ImportOptions(task="binary"))


def test_without_statistics_covers_come_from_a_sample():
    builder = treelite.model_builder.ModelBuilder(
        threshold_type="float64", leaf_output_type="float64",
        metadata=treelite.model_builder.Metadata(
            num_feature=2, task_type="kRegressor", average_tree_output=False, num_target=1, num_class=[1],
            leaf_vector_shape=(1, 1),
        ),
        tree_annotation=treelite.model_builder.TreeAnnotation(num_tree=1, target_id=[0], class_id=[0]),
        postprocessor=treelite.model_builder.PostProcessorFunc(name="identity"),
        base_scores=[0.25],
    )  # fmt: skip
    builder.start_tree()
    # Children of any operator, numbered before their parent is complete.
    for node, operator in ((0, ">="), (1, ">"), (2, "<")):
        builder.start_node(node)
        builder.numerical_test(
            feature_id=node % 2, threshold=0.5, default_left=node == 1, opname=operator,
            left_child_key=2 * node + 1, right_child_key=2 * node + 2,
        )  # fmt: skip
        builder.end_node()
    for node in range(3, 7):
        builder.start_node(node)
        builder.leaf(float(node))
        builder.end_node()
    builder.end_tree()
    model = import_model(builder.commit())
    assert model.covers == "none"
    values = [0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), np.nan, -1.0, np.inf]
    rows = np.array([[a, b] for a in values for b in values])
    got = run_trees(encode_forest(model.forest), rows, np.arange(len(rows)))
    np.testing.assert_array_equal(got.margins, answers(model, rows, pred_margin=True))
    assert with_covers(model, rows[:10]).covers == "sample"


def test_what_is_not_served_is_refused_by_name(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    several = np.stack([rows[:, 0] > 0, np.digitize(rows[:, 1], [-0.5, 0.5])], axis=1).astype(int)
    forest = RandomForestClassifier(2, max_depth=2).fit(rows, several)
    with pytest.raises(UnsupportedModelError, match=r"2 targets of \[2, 3\] classes"):
        import_model(treelite.sklearn.import_model(forest))
    with pytest.raises(UnsupportedModelError, match=r"ends in 'exponential_standard_ratio'|is an isolation forest"):
        import_model(treelite.sklearn.import_model(IsolationForest(n_estimators=2).fit(rows)))
    sound = treelite_models.checkpoint("sklearn forest").serialize_bytes()
    for content, reason in (
        (struct.pack("<3i", 3, 9, 0) + sound[12:], "written by treelite 3.9.0.*serialize it again"),
        (sound[:12] + b"\x02\x01" + sound[14:], "thresholds and leaves of the types 2 and 1"),
    ):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(UnsupportedModelError, match=reason):
            import_model(tmp_path / "m")


def test_damaged_checkpoints_are_refused_or_read(tmp_path):
    rng, path, refused = np.random.default_rng(0), tmp_path / "m", 0
    for source in ("xgboost categories", "sklearn classes"):
        sound = treelite_models.checkpoint(source, rounds=2).serialize_bytes()
        for trial in range(200):
            content = bytearray(sound)
            if trial % 4 == 0:
                content = content[: int(rng.integers(14, len(content)))]
            for _ in range(int(rng.integers(0 if trial % 4 == 0 else 1, 4))):
                content[int(rng.integers(len(content)))] = int(rng.integers(256))
            path.write_bytes(content)
            try:
                encode_forest(import_model(path).forest)
            except BuildError as error:
                refused += 1
                assert str(error).strip()
    assert refused > 150
    (tmp_path / "m").write_bytes(sound + b"\0")
    with pytest.raises(ModelUnreadableError, match="1 bytes follow its last tree"):
        import_model(tmp_path / "m")
