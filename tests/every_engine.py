"""The same rows through every way to ask a bundle, in order of their ids, and how fast each is on this machine.

    PYTHONPATH=tests .venv/bin/python tests/every_engine.py [--rows 100000] [--only duckdb,polars] [--write]

prints a line for each way: whether its bits are those of LightGBM's own predict, and rows/s with loading and starting left out
where an engine lets one. `--write` puts the table into docs/how-to/engines.md. Ways whose packages are missing are skipped.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import mlrf
from arrow_streams import stream
from grpc_peer import Peer, address_of
from inference_wires import GrpcWire, ParsedRequest, Tensor
from raw_http import Client
from running import serving

STORES = ["north", "south", "east"]
NUMBERS = [f"x{i}" for i in range(6)]
PAGE = Path(__file__).parents[1] / "docs/how-to/engines.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
_BATCH = 2000
_ARROW = "application/vnd.apache.arrow.stream"

Answers = npt.NDArray[np.float64]


def frame(n: int) -> pd.DataFrame:
    """`n` rows with an id: numbers, some missing or large, and a category."""
    random = np.random.default_rng(5)
    columns: dict[str, Any] = {name: random.normal(size=n) for name in NUMBERS}
    columns["x0"][::11] = np.nan
    columns["x1"][::13] *= 1e12
    columns["store"] = pd.Categorical(random.choice(STORES, n), STORES)
    return pd.DataFrame({"id": np.arange(n), **columns})


def train(folder: Path, trees: int = 30) -> lightgbm.Booster:
    """Train a binary classifier and write its bundle to `folder`."""
    rows = frame(2000).drop(columns="id")
    labels = (rows["x2"] * 2 + rows["x3"] > 0) ^ (rows["store"] == "east")
    parameters = {"objective": "binary", "num_leaves": 15, "verbose": -1, "num_threads": 1, "deterministic": True}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, labels), trees)
    mlrf.build(booster, folder, name="golden")
    return booster


class Rows:
    """Rows to score: as a table, and as Parquet files of several row groups."""

    def __init__(self, n: int, folder: Path) -> None:
        self.frame = frame(n)
        plain = self.frame.assign(store=self.frame["store"].astype("str"))
        self.table = pa.Table.from_pandas(plain, preserve_index=False).replace_schema_metadata(None)
        self.folder = folder
        self.path = folder / "rows"
        self.path.mkdir()
        half = n // 2
        for index, part in enumerate((self.table.slice(0, half), self.table.slice(half))):
            pq.write_table(part, self.path / f"{index}.parquet", row_group_size=max(1, n // 8))

    @property
    def features(self) -> pa.Table:
        """The table without ids."""
        return self.table.drop_columns("id")


def in_order(table: pa.Table) -> Answers:
    """The predictions of a table with ids, by id."""
    return table.sort_by("id")["prediction"].to_numpy()


def by_model(bundle: Path, rows: Rows) -> Answers:
    return mlrf.load(bundle).predict(rows.features)


def by_score(bundle: Path, rows: Rows) -> Answers:
    out = rows.folder / f"scored-{time.monotonic_ns()}"
    mlrf.score(bundle, rows.path, out, keep=["id"])
    return in_order(pq.read_table(out))


@contextmanager
def _client(bundle: Path, *options: str) -> Iterator[tuple[Any, Client]]:
    with serving(bundle, options=["--max-batch", str(_BATCH), *options]) as server, server.client() as client:
        yield server, client


def _batches(rows: Rows) -> Iterator[pa.Table]:
    for first in range(0, len(rows.table), _BATCH):
        yield rows.features.slice(first, _BATCH)


def by_json(bundle: Path, rows: Rows) -> Answers:
    answers: list[float] = []
    with _client(bundle) as (_, client):
        for batch in _batches(rows):
            instances = [
                {
                    "features": {
                        name: None if value is None or (isinstance(value, float) and math.isnan(value)) else value
                        for name, value in row.items()
                    }
                }
                for row in batch.to_pylist()
            ]
            answer = client.ask("POST", "/predict/batch", {"instances": instances})
            assert answer.status == 200, answer.json
            answers += answer.json["predictions"]
    return np.array(answers)


def by_arrow(bundle: Path, rows: Rows) -> Answers:
    answers: list[float] = []
    with _client(bundle) as (_, client):
        for batch in _batches(rows):
            headers = [f"Content-Type: {_ARROW}", f"Accept: {_ARROW}"]
            answer = client.ask("POST", "/predict/batch", stream(batch), headers)
            assert answer.status == 200, answer.json
            answers += pa.ipc.open_stream(answer.body).read_all()["prediction"].to_pylist()
    return np.array(answers)


def by_grpc(bundle: Path, rows: Rows) -> Answers:
    answers: list[float] = []
    with _client(bundle, "--grpc-port", "0") as (server, _), Peer(address_of(server)) as peer:
        wire = GrpcWire(peer, raw=True)
        for batch in _batches(rows):
            n = len(batch)
            inputs = [Tensor(name, "FP64", batch[name].to_pylist(), [n]) for name in NUMBERS]
            inputs.append(Tensor("store", "BYTES", batch["store"].to_pylist(), [n]))
            answer = wire.infer(ParsedRequest(inputs, model="golden", outputs=["prediction"]))
            assert answer.status == "OK", answer.error
            answers += answer.outputs["prediction"]
    return np.array(answers)


def by_duckdb(bundle: Path, rows: Rows) -> Answers:
    import duckdb  # noqa: PLC0415

    with duckdb.connect() as con:
        mlrf.duckdb.register(con, "golden", bundle)
        query = f"SELECT id, golden(t) AS prediction FROM '{rows.path}/*.parquet' t"  # noqa: S608
        return in_order(con.sql(query).to_arrow_table())


def by_polars(bundle: Path, rows: Rows) -> Answers:
    import polars as pl  # noqa: PLC0415

    scored = pl.scan_parquet(rows.path / "*.parquet").select("id", mlrf.polars.predict(bundle))
    return in_order(scored.collect(engine="streaming").to_arrow())


def by_ray(bundle: Path, rows: Rows) -> Answers:
    import ray  # noqa: PLC0415

    with ray_started():
        out = rows.folder / f"ray-{time.monotonic_ns()}"
        mlrf.ray.score(ray.data.read_parquet(str(rows.path)), bundle, out, keep=["id"], workers=(1, 2))
        return in_order(pq.read_table(out))


def by_spark(bundle: Path, rows: Rows) -> Answers:
    with spark_session() as spark:
        scored = mlrf.spark.score(spark.read.parquet(str(rows.path)), bundle, keep=["id"])
        return in_order(scored.toArrow())


def by_dask(bundle: Path, rows: Rows) -> Answers:
    import dask.dataframe  # noqa: PLC0415

    scored = mlrf.dask.score(dask.dataframe.read_parquet(rows.path), bundle, keep=["id"])
    return in_order(pa.Table.from_pandas(scored.compute(), preserve_index=False))


def by_daft(bundle: Path, rows: Rows) -> Answers:
    import daft  # noqa: PLC0415

    @daft.udf(return_dtype=daft.DataType.float64())
    class Predict:
        def __init__(self, path: str) -> None:
            from mlrf.scoring import Scorer  # noqa: PLC0415

            self.scorer = Scorer(path)

        def __call__(self, rows: daft.Series) -> pa.Array:
            return self.scorer(pa.Table.from_struct_array(rows.to_arrow()))["prediction"].combine_chunks()

    predict = Predict.with_init_args(str(bundle))
    features = daft.functions.to_struct(*(daft.col(name) for name in [*NUMBERS, "store"]))
    scored = daft.read_parquet(str(rows.path)).select("id", predict(features).alias("prediction"))
    return in_order(scored.to_arrow())


LOCAL: dict[str, Callable[[Path, Rows], Answers]] = {
    "Model in a notebook": by_model,
    "server, JSON": by_json,
    "server, gRPC": by_grpc,
    "server, Arrow": by_arrow,
    "mlrf score": by_score,
    "DuckDB": by_duckdb,
    "Polars": by_polars,
}
"""The ways that `make test` tries."""
CLUSTER: dict[str, Callable[[Path, Rows], Answers]] = {
    "Ray": by_ray,
    "Spark": by_spark,
    "Dask": by_dask,
    "Daft": by_daft,
}
"""The ways of requirements/cluster.txt, each with its local workers."""


@contextmanager
def ray_started() -> Iterator[None]:
    """Ray with four logical processors, of which checkpoints take two; ends it only if it was not running."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415

    runs = ray.is_initialized()
    if not runs:
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=128 << 20)
        ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        if not runs:
            ray.shutdown()


@contextmanager
def spark_session() -> Iterator[Any]:
    """Spark with two local executors' threads and this Python; ends it only if it was not running."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession  # noqa: PLC0415

    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", "600m").config("spark.log.level", "OFF")
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--only", default="", help="some of the ways, by name, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    chosen = [name.strip().lower() for name in options.only.split(",") if name]
    lines, failed = ["| way | bits of LightGBM's `predict` | rows/s |", "|---|---|---|"], 0
    print(*lines, sep="\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        booster = train(folder / "golden", options.trees)
        rows, few = Rows(options.rows, folder), None
        (folder / "few").mkdir()
        few = Rows(100, folder / "few")
        expected = booster.predict(rows.frame.drop(columns="id"), num_threads=1)
        for name, ask in (LOCAL | CLUSTER).items():
            if chosen and name.lower() not in chosen:
                continue
            try:
                with _kept_running(name):
                    ask(folder / "golden", few)  # starts what has to be started
                    start_s = time.perf_counter()
                    ask(folder / "golden", few)
                    began_s = time.perf_counter()
                    answers = ask(folder / "golden", rows)
                    ended_s = time.perf_counter()
            except ImportError as missing:
                print(f"{name}: skipped, {missing}", file=sys.stderr)
                continue
            equal = answers.tobytes() == expected.tobytes()
            failed += not equal
            # The same way with few rows takes what it takes to load the bundle and to start.
            whole_s, started_s = ended_s - began_s, began_s - start_s
            shown = f"{options.rows / (whole_s - started_s):,.0f}"
            if whole_s < 2 * started_s:  # what is left after the start is noise
                shown = f"at least {options.rows / whole_s:,.0f}"
            lines.append(f"| {name} | {'equal' if equal else 'DIFFERENT'} | {shown} |")
            print(lines[-1], flush=True)
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        heading = (
            f"{options.rows:,} rows of 7 columns, {options.trees} trees of 15 leaves, {os.cpu_count()} processors:\n\n"
        )
        PAGE.write_text(
            f"{head}{BEGIN}\n{heading}" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}", encoding="utf-8"
        )
    return int(bool(failed))


@contextmanager
def _kept_running(name: str) -> Iterator[None]:
    """Keep the engine running between the calls."""
    if name == "Ray":
        with ray_started():
            yield
    elif name == "Spark":
        with spark_session():
            yield
    else:
        yield


if __name__ == "__main__":
    sys.exit(main())
