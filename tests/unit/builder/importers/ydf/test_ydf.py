"""YDF's model directories: ydf's own predictions to the bit, what is refused by name, damaged files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import mlrf
import ydf_models
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.builder.importers.ydf_directory import is_joined, join_files, split_files, ydf_files
from mlrf.builder.parity.exports import run_trees
from mlrf.builder.parity.golden_rows import golden_rows_of
from mlrf.core.errors import BuildError, ModelUnreadableError, SampleError, UnsupportedModelError

ydf = pytest.importorskip("ydf")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ydf") / "model"
    ydf_models.train("GradientBoostedTrees binary").save(str(folder))
    return folder


# With more than 64 leaves, and with conditions on missing numbers, YDF takes an engine that adds the initial prediction last.
DEEP = {"max_depth": 12, "min_examples": 1, "trees": 40}
ON_MISSING = {"allow_na_conditions": True, "trees": 40, "features": ["price", "size", "open"]}


@pytest.mark.parametrize(
    ("source", "options"),
    [
        *((source, {}) for source in ydf_models.SOURCES),
        ("GradientBoostedTrees regression", DEEP),
        ("GradientBoostedTrees binary", DEEP),
        ("GradientBoostedTrees ranking", DEEP),
        ("GradientBoostedTrees regression", ON_MISSING),
    ],
)
def test_margins_are_ydfs_to_the_bit(source, options, tmp_path):
    from mlrf.builder.importers.ydf.reference import answer  # noqa: PLC0415  imports ydf

    model = import_model(ydf_models.train(source, **options))
    rows = golden_rows_of(model, None).rows.dense()
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, 2000).astype(int))]
    kept = np.arange(0, len(rows), 10)
    (tmp_path / "m").write_bytes(model.source)
    expected, predicted, _ = answer(tmp_path / "m", rows, rows, dict(model.settings), 1)
    got = run_trees(encode_forest(model.forest), rows, kept)
    np.testing.assert_array_equal(got.margins, expected)
    np.testing.assert_array_equal(got.single, expected[kept])
    assert got.additivity_gap <= 1e-9
    linked = np.array([model.link.vector()(row) for row in got.margins.tolist()])
    np.testing.assert_allclose(linked, predicted, rtol=1e-5, atol=1e-6)
    assert model.covers == "training"


@pytest.mark.parametrize("source", ["GradientBoostedTrees classes", "RandomForest binary"])
def test_a_directory_is_built_and_answers_a_frame_as_ydf_does(source, tmp_path):
    trained = ydf_models.train(source)
    trained.save(str(tmp_path / "model"))
    served = mlrf.load(mlrf.build(tmp_path / "model", tmp_path / "b", name="m"))
    table, _ = ydf_models.frame(3)
    sent = table.assign(shop=table["shop"].replace("", None))
    np.testing.assert_allclose(served.predict(sent), trained.predict(table), rtol=1e-6, atol=1e-7)
    assert served.bundle.manifest.classes == trained.label_classes()
    unseen = {"price": 0.5, "size": 1.0, "shop": "<OOD>", "open": True}
    own = trained.predict({key: np.array(["nowhere" if key == "shop" else value]) for key, value in unseen.items()})
    np.testing.assert_allclose(served.predict([unseen])[0], own[0], rtol=1e-6)
    gap = served.explain(sent[:20])
    margins = served.margin(sent[:20]).reshape(20, -1)
    np.testing.assert_allclose(gap.values.reshape(20, 4, -1).sum(axis=1) + gap.base, margins, rtol=0, atol=1e-9)


def test_files_with_a_prefix_and_in_assets_are_the_same_model(saved, tmp_path):
    assets = tmp_path / "tfdf" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "tfdf" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    for path in saved.iterdir():
        shutil.copy(path, assets / f"1a2b{path.name}")
    assert import_model(tmp_path / "tfdf").source == import_model(saved).source


def test_a_model_gives_the_same_bytes_each_time(saved):
    files = ydf_files(saved)
    joined = join_files(files)
    assert is_joined(joined)
    assert joined == join_files(dict(reversed(files.items())))
    assert split_files(joined) == {name: path.read_bytes() for name, path in files.items()}


def test_nodes_compressed_with_gzip_are_read(saved, tmp_path):
    import zlib  # noqa: PLC0415

    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    nodes = folder / "nodes-00000-of-00001"
    plain = nodes.read_bytes()
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(plain[8:]) + packer.flush()
    nodes.write_bytes(plain[:4] + b"\x01" + plain[5:8] + packed)
    np.testing.assert_array_equal(import_model(folder).forest.value, import_model(saved).forest.value)
    nodes.write_bytes(plain[:4] + b"\x01" + plain[5:8] + packed[:-9])
    with pytest.raises(ModelUnreadableError, match="is cut off or no sequence of nodes"):
        import_model(folder)


@pytest.mark.parametrize("source", ["RandomForest classes", "RandomForest binary"])
def test_a_sum_of_votes_above_one_is_clipped_as_by_ydf(source, tmp_path):
    trained = ydf_models.train(source, seed=695563569, trees=24)
    served = mlrf.load(mlrf.build(trained, tmp_path / "bundle", name="m"))
    table, _ = ydf_models.frame(3, n=2000)
    sent = table.assign(shop=table["shop"].replace("", None))
    assert served.margin(sent).max() == 1.0 + 2**-23  # of 24 float32 shares
    np.testing.assert_array_equal(served.predict(sent), trained.predict(table).astype(np.float64))


def test_what_is_not_served_is_refused_by_name(tmp_path, saved):
    table, signal = ydf_models.frame()
    table["y"] = signal
    kinds = {
        "isolation_forest_header.pb": ydf.IsolationForestLearner(num_trees=2).train(table),
        "oblique splits": ydf.GradientBoostedTreesLearner(
            label="y", task=ydf.Task.REGRESSION, num_trees=3, split_axis="SPARSE_OBLIQUE"
        ).train(table[["price", "size", "y"]]),
        "is discretized numerical": ydf.GradientBoostedTreesLearner(
            label="y", task=ydf.Task.REGRESSION, num_trees=2, discretize_numerical_columns=True
        ).train(table),
        "has the loss 7": ydf.GradientBoostedTreesLearner(
            label="y", task=ydf.Task.REGRESSION, num_trees=2, loss="POISSON"
        ).train(table.assign(y=np.abs(signal).round())),
    }
    for reason, model in kinds.items():
        with pytest.raises(UnsupportedModelError, match=reason):
            import_model(model)
    with pytest.raises(SampleError, match="defines its categories itself"):
        import_model(saved, ImportOptions({"shop": ["a"]}))
    shutil.copytree(saved, tmp_path / "cut")
    (tmp_path / "cut" / "nodes-00000-of-00001").unlink()
    with pytest.raises(ModelUnreadableError, match="has no file nodes-00000-of-00001"):
        import_model(tmp_path / "cut")


def test_damaged_directories_are_refused_or_read(saved, tmp_path):
    rng, refused = np.random.default_rng(0), 0
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    names = sorted(path.name for path in saved.iterdir() if path.stat().st_size)
    for trial in range(160):
        path = folder / names[trial % len(names)]
        content = bytearray((saved / path.name).read_bytes())
        if trial % 5 == 0:
            content = content[: int(rng.integers(len(content)))]
        for _ in range(int(rng.integers(1, 4)) if content else 0):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(content)
        try:
            encode_forest(import_model(folder).forest)
        except BuildError as error:
            refused += 1
            assert str(error).strip()
        path.write_bytes((saved / path.name).read_bytes())
    assert refused > 40
