"""Ray, Spark, Dask and Daft, each the real engine on this machine: the bits of LightGBM's predict, and errors that say what is wrong.

They need requirements/cluster.txt, Spark also a Java runtime: `make test-cluster`.
"""

from __future__ import annotations

import contextlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from every_engine import CLUSTER, Rows, ray_started, spark_session, train
from mlrf.core.errors import ConfigError, MissingFeatureError

ROWS = 3000
PACKAGES = {"Ray": "ray", "Spark": "pyspark", "Dask": "dask", "Daft": "daft"}
MODULES = ["Ray", "Spark", "Dask"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    booster = train(folder / "golden")
    rows = Rows(ROWS, folder)
    return folder / "golden", rows, booster.predict(rows.frame.drop(columns="id"), num_threads=1)


@pytest.fixture(scope="module")
def started():
    """Each engine starts once, when a test first needs it."""
    with contextlib.ExitStack() as stack:
        running = {}

        def start(engine):
            pytest.importorskip(PACKAGES[engine])
            if engine == "Spark" and shutil.which("java") is None:
                pytest.skip("Spark needs a Java runtime: apt install default-jre-headless")
            if engine not in running:
                opened = {"Ray": ray_started, "Spark": spark_session}.get(engine, contextlib.nullcontext)
                running[engine] = stack.enter_context(opened())
            return running[engine]

        yield start


def opened(engine, running, table, folder):
    """A table as the engine's data frame."""
    if engine == "Ray":
        import ray.data  # noqa: PLC0415

        return ray.data.from_arrow(table)
    if engine == "Spark":
        return running.createDataFrame(table)
    import dask.dataframe  # noqa: PLC0415

    return dask.dataframe.from_pandas(table.to_pandas(), npartitions=2)


def score(engine):
    return getattr(mlrf, engine.lower()).score


def collect(engine, answers):
    """The rows of answers; those of Dask from processes of their own."""
    match engine:
        case "Ray":
            return answers.take_all()
        case "Spark":
            return answers.collect()
    return answers.compute(scheduler="processes", num_workers=1)


@pytest.mark.smoke
@pytest.mark.parametrize("engine", CLUSTER)
def test_an_engine_has_the_bits_of_the_library(golden, started, engine):
    started(engine)
    bundle, rows, expected = golden
    assert np.array_equal(CLUSTER[engine](bundle, rows), expected)


@pytest.mark.parametrize("engine", MODULES)
def test_columns_are_checked_before_the_engine_runs(golden, started, engine):
    running = started(engine)
    bundle, rows, _ = golden
    table = rows.table.slice(0, 10)
    with pytest.raises(MissingFeatureError, match="no column 'x3'"):
        score(engine)(opened(engine, running, table.drop_columns("x3"), rows.folder), bundle, keep=["id"])
    with pytest.raises(ConfigError, match="no column 'key'"):
        score(engine)(opened(engine, running, table, rows.folder), bundle, keep=["key"])
    with pytest.raises(ConfigError, match="name the columns that identify a row"):
        score(engine)(opened(engine, running, table, rows.folder), bundle, keep=[])
    with pytest.raises(ConfigError, match="pass a"):
        score(engine)([1, 2], bundle, keep=["id"])


@pytest.mark.parametrize("engine", MODULES)
def test_an_invalid_value_ends_the_job_with_our_sentence(golden, started, engine):
    running = started(engine)
    bundle, rows, _ = golden
    table = rows.table.slice(0, 10)
    wrong = table.set_column(table.column_names.index("store"), "store", pa.array(["north"] * 9 + ["nowhere"]))
    with pytest.raises(Exception, match="feature 'store': the string \"nowhere\" is not one of its categories"):
        collect(engine, score(engine)(opened(engine, running, wrong, rows.folder), bundle, keep=["id"]))
    lenient = score(engine)(
        opened(engine, running, wrong, rows.folder), bundle, keep=["id"], unknown_categories="missing"
    )
    assert len(collect(engine, lenient)) == 10


@pytest.mark.parametrize("engine", MODULES)
def test_workers_refuse_another_version_of_the_bundle(golden, started, engine, tmp_path):
    """The path leads to a bundle trained anew between the call and the work of the engine."""
    running = started(engine)
    bundle, rows, _ = golden
    shutil.copytree(bundle, tmp_path / "moved")
    answers = score(engine)(
        opened(engine, running, rows.table.slice(0, 10), rows.folder), tmp_path / "moved", keep=["id"]
    )
    shutil.rmtree(tmp_path / "moved")
    train(tmp_path / "moved", trees=3)
    with pytest.raises(Exception, match=r"contains version .* with which the job began"):
        collect(engine, answers)


@pytest.mark.parametrize("engine", MODULES)
def test_the_bundle_is_sent_to_workers_that_lack_its_path(golden, started, engine, tmp_path):
    running = started(engine)
    bundle, rows, _ = golden
    shutil.copytree(bundle, tmp_path / "moved")
    table = rows.table.slice(0, 10)
    answers = score(engine)(
        opened(engine, running, table, rows.folder), tmp_path / "moved", keep=["id"], send_bundle=True, explain="all"
    )
    shutil.rmtree(tmp_path / "moved")
    found = collect(engine, answers)
    expected = mlrf.scoring.Scorer(bundle, keep=["id"], explain="all")(table).to_pandas()
    if engine == "Dask":
        assert found.reset_index(drop=True).equals(expected)
    else:
        by_id = {each["id"]: each for each in found}
        assert [[by_id[each["id"]][name] for name in expected] for each in expected.to_dict("records")] == [
            [*each.values()] for each in expected.to_dict("records")
        ]


def test_dask_scatters_the_bundle_to_the_workers_of_a_client(golden, started, tmp_path):
    distributed = pytest.importorskip("distributed")
    started("Dask")
    bundle, rows, expected = golden
    shutil.copytree(bundle, tmp_path / "moved")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        ddf = opened("Dask", None, rows.table, rows.folder)
        answers = mlrf.dask.score(ddf, tmp_path / "moved", keep=["id"], send_bundle=True)
        shutil.rmtree(tmp_path / "moved")
        assert answers.compute()["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_rays_checkpoints_continue_a_job(golden, started):
    """The first job has one of two files; the second reads both, and scores only what is new."""
    started("Ray")
    import ray.data  # noqa: PLC0415
    from ray.data.checkpoint import CheckpointConfig  # noqa: PLC0415

    bundle, rows, expected = golden
    context = ray.data.DataContext.get_current()
    folder = rows.folder / "checkpoints"
    context.checkpoint_config = CheckpointConfig("id", str(folder), delete_checkpoint_on_success=False)
    try:
        out = rows.folder / "continued"
        first = ray.data.read_parquet(str(rows.path / "0.parquet"))
        mlrf.ray.score(first, bundle, out, keep=["id"])
        before = {each.name: each.read_bytes() for each in out.iterdir()}
        both = ray.data.read_parquet(str(rows.path))
        with pytest.raises(ConfigError, match=r"with 3 workers it would wait forever; .* ray.init\(num_cpus=5\)"):
            mlrf.ray.score(both, bundle, out, keep=["id"], workers=3)
        mlrf.ray.score(both, bundle, out, keep=["id"])
    finally:
        context.checkpoint_config = None
    assert {name: (out / name).read_bytes() for name in before} == before
    found = pq.read_table(out).sort_by("id")
    assert found["id"].to_pylist() == list(range(ROWS))
    assert found["prediction"].to_numpy().tobytes() == expected.tobytes()
