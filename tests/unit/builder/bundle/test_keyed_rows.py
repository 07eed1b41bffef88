"""Rows by key from the build to the state directory: the same content gives the same bundle, loaded once; errors are one line."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

import mlrf
from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError, ConfigError, RowsError
from mlrf.core.manifest import FileEntry
from mlrf.core.schema import Schema
from mlrf.features.explanation_store import model_digest
from mlrf.features.explanations_parquet import read_explanations
from mlrf.features.local_folders import local_folders
from mlrf.features.open_stores import open_explanations, open_store
from mlrf.features.row_format import row_format
from mlrf.features.seed_store import import_rows
from once_a_run import once_a_run
from redis_server import redis_server

KEY = ["shop", "stock", "day"]


@pytest.fixture(scope="session")
def rows(frame):
    """Keys that are features too (shop, stock), one that is not, an as-of time, and a column that nobody asked for."""
    made = frame.assign(
        day=pd.to_datetime("2026-01-01") + pd.to_timedelta(np.arange(len(frame)), "D"),
        seen=pd.Timestamp("2026-02-01 06:00", tz="UTC"),
        price_before=1.0,
    )
    made.loc[::9, "price"] = np.nan
    return made


@pytest.fixture(scope="session")
def rows_file(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    rows.to_parquet(path, index=False)
    return path


@pytest.fixture(scope="session")
def built(booster, frame, rows_file, tmp_path_factory):
    rows = {"features": rows_file, "key": KEY, "as_of_column": "seen", "explain": True}

    def build(out):
        mlrf.build(booster, out, name="sales", sample=frame, **rows)

    return once_a_run(tmp_path_factory, "keyed-bundle", build)


def key_of(row) -> dict:
    return {"shop": row["shop"], "stock": int(row["stock"]), "day": row["day"].date().isoformat()}


def instance_of(row) -> dict:
    price = None if np.isnan(row["price"]) else row["price"]
    return {"price": price, "stock": int(row["stock"]), "promo": bool(row["promo"]), "shop": row["shop"]}


def test_rows_and_contributions_are_served_unchanged(built, rows, tmp_path):
    bundle = read_bundle(built)
    format_ = row_format(bundle)
    assert import_rows(bundle, tmp_path)
    assert not import_rows(bundle, tmp_path)
    store, explanations = open_store(bundle, tmp_path), open_explanations(bundle, tmp_path)
    model = mlrf.load(built)
    for _, row in rows.iterrows():
        key = format_.key.encode(key_of(row))
        stored = store.read(key)
        expected = bundle.schema.row(instance_of(row))
        assert list(map(repr, stored.values)) == list(map(repr, expected))
        assert stored.as_of_us == 1_769_925_600_000_000
        live = model.engine.contributions(expected)
        np.testing.assert_allclose(explanations.read(key, stored), live, rtol=1e-12, atol=1e-12)
    assert store.count().rows == len(rows)
    assert bundle.manifest.rows.explained == len(rows)
    asyncio.run(store.close())
    explanations.release()


def test_contributions_of_another_width_are_refused(built):
    bundle = read_bundle(built)
    file, rows, width = bundle.file("explanations.parquet"), row_format(bundle), bundle.manifest.n_features
    assert sum(map(len, read_explanations(file, rows, model_digest(bundle), width))) > 0
    with pytest.raises(BundleError, match="another number of features"):
        list(read_explanations(file, rows, model_digest(bundle), width + 1))


def test_row_order_and_types_do_not_change_the_bundle(built, booster, frame, rows, tmp_path):
    path = tmp_path / "rows.parquet"
    same = rows.assign(
        stock=rows["stock"].astype("int16"), shop=rows["shop"].astype(str), seen=rows["seen"].dt.tz_localize(None)
    )
    same = same.drop(columns="price_before").sample(frac=1, random_state=1)
    pq.write_table(pa.Table.from_pandas(same, preserve_index=False), path, row_group_size=77, compression="none")
    options = {"features": path, "key": KEY[::-1], "as_of_column": "seen", "explain": True}
    out = mlrf.build(booster, tmp_path / "b", name="sales", sample=frame, **options)
    assert read_bundle(out).version == read_bundle(built).version


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"features": None}, ConfigError, "--as-of-column applies to the rows of --features"),
        ({"key": None}, ConfigError, "--features: --key is missing"),
        (
            {"features": None, "as_of_column": None},
            ConfigError,
            "--key shop: without --features its type must be given, as in shop:date",
        ),
        ({"key": ["shop", "nowhere"]}, RowsError, "no column 'nowhere' of strings, integers, dates or booleans"),
        ({"key": ["shop:text"]}, ConfigError, "'text' is not one of string, integer, date, boolean"),
        ({"key": ["shop", "shop"]}, ConfigError, "two fields of the key are named 'shop'"),
        ({"key": ["shop"], "as_of_column": None}, RowsError, "two rows have the key {'shop': "),
        ({"key": ["price"]}, RowsError, "no column 'price' of strings"),
        ({"as_of_column": "then"}, RowsError, "no column 'then' for the as-of column"),
        (
            {"as_of_column": "price"},
            ConfigError,
            "'price' is a feature of the model; name a column that is only a time",
        ),
        ({"features": "nowhere.parquet"}, RowsError, "no such file"),
    ],
)
def test_what_cannot_be_built_is_refused_and_leaves_nothing(
    booster, frame, rows_file, tmp_path, changed, error, message
):
    options = {"features": rows_file, "key": KEY, "as_of_column": "seen"} | changed
    explain = options["features"] is not None
    with pytest.raises(error) as refused:
        mlrf.build(booster, tmp_path / "b", name="sales", sample=frame, explain=explain, **options)
    assert message in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_rows_may_lack_features_where_that_is_said(booster, frame, rows, tmp_path):
    rows.drop(columns="promo").to_parquet(tmp_path / "rows.parquet")
    options = {"name": "s", "sample": frame, "features": tmp_path / "rows.parquet", "key": ["day"]}
    with pytest.raises(RowsError, match="no column 'promo' of the model's features; add it, or give --partial"):
        mlrf.build(booster, tmp_path / "b", **options)
    with pytest.raises(ConfigError, match="--explain: the rows lack the features 'promo'"):
        mlrf.build(booster, tmp_path / "b", partial=True, explain=True, **options)
    bundle = read_bundle(mlrf.build(booster, tmp_path / "b", partial=True, **options))
    store = open_store(bundle, tmp_path / "state")
    assert store.read(row_format(bundle).key.encode({"day": "2026-01-05"})).absent == (2,)
    store.release()


def test_a_key_alone_makes_a_bundle_whose_rows_come_later(booster, tmp_path):
    bundle = read_bundle(mlrf.build(booster, tmp_path / "b", name="s", key=["shop:string", "day:date"]))
    assert [(f.name, f.type) for f in bundle.manifest.rows.key] == [("day", "date"), ("shop", "string")]
    assert not import_rows(bundle, tmp_path / "state")


def test_rows_survive_a_new_model_but_not_a_new_schema(built, tmp_path):
    first = read_bundle(built)
    files = {**first.manifest.files, "explanations.parquet": FileEntry("0" * 64, 1)}
    retrained = replace(first, manifest=replace(first.manifest, files=files))
    other = replace(first, schema=Schema(first.schema.features[::-1]))
    folders = [local_folders(tmp_path, bundle, row_format(bundle)) for bundle in (first, retrained, other)]
    assert folders[0].rows == folders[1].rows != folders[2].rows
    assert len({each.explanations for each in folders}) == 3


def test_pushed_rows_survive_a_restart_and_loaded_rows_stay(built, rows, tmp_path, rows_file):
    bundle = read_bundle(built)
    format_ = row_format(bundle)
    key = format_.key.encode(key_of(rows.iloc[0]))
    store = open_store(bundle, tmp_path)
    store.upsert([(key, format_.pack([9.0, 9.0, 1.0, 1.0]))])
    store.release()
    # As if the server had died before it noted that the rows were taken.
    (local_folders(tmp_path, bundle, format_).rows / "seeded").unlink()
    store = open_store(bundle, tmp_path)
    assert store.read(key).values[0] == 9.0
    store.release()


def test_bundle_replaced_during_the_start_is_refused(built, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    bundle = read_bundle(copy)
    (copy / "features.parquet").write_bytes(b"PAR1")
    with pytest.raises(BundleError, match=r"could not be loaded: .*features\.parquet has 4 bytes"):
        import_rows(bundle, tmp_path / "state")
    assert not list((tmp_path / "state").rglob("seeded"))


def test_commands_load_push_get_and_count(built, rows, rows_file, tmp_path, capsys):
    with redis_server(tmp_path) as redis:
        for where in (["--state-dir", str(tmp_path / "state")], ["--features", redis.url]):
            _commands(built, rows, rows_file, tmp_path, where, capsys)
    assert (
        main(["features", "get", str(built), "day=2026-01-01", "shop=north", "stock=1", "--features", redis.url]) == 1
    )
    assert "the feature store does not answer" in capsys.readouterr().err


def _commands(built, rows, rows_file, tmp_path, where, capsys):
    def run(*arguments: object, status: int = 0) -> str:
        command, *rest = map(str, arguments)
        assert main(["features", command, str(built), *rest, *where]) == status
        shown = capsys.readouterr()
        return shown.err if status else shown.out

    assert run("load", rows_file, "--as-of-column", "seen") == "300 rows loaded\n"
    row = rows.iloc[1]
    fields = [f"{name}={value}" for name, value in key_of(row).items()]
    document = json.loads(run("get", *fields))
    assert (document["key"], document["features"]) == (key_of(row), instance_of(row))
    assert document["as_of"] == "2026-02-01T06:00:00Z"
    news = [
        {**document, "features": {**document["features"], "price": price}, "as_of": at}
        for price, at in [(1.5, "2026-03-01"), (2.5, "2025-01-01")]
    ]
    (tmp_path / "news.jsonl").write_text("\n".join(map(json.dumps, news)), encoding="utf-8")
    assert (
        run("push", tmp_path / "news.jsonl")
        == "1 rows pushed; 1 left out because a later row with the same key is stored\n"
    )
    assert json.loads(run("get", *fields))["features"]["price"] == 1.5
    cells = {**key_of(row), "promo": "true", "price": 3.5, "at": "2026-04-01T00:00:00Z"}
    (tmp_path / "news.csv").write_text(",".join(cells) + "\n" + ",".join(map(str, cells.values())), encoding="utf-8")
    assert run("push", tmp_path / "news.csv", "--as-of-column", "at") == "1 rows pushed\n"
    assert json.loads(run("get", *fields))["features"]["price"] == 3.5
    assert run("push", rows_file, "--as-of-column", "seen").startswith("299 rows pushed; 1 left out")
    stats = json.loads(run("stats"))
    assert (stats["rows"], stats["loaded_from"]) == (300, "rows.parquet")
    assert 'row 0: the key lacks the field "day"' in run(
        "push", _written(tmp_path / "x.jsonl", '{"key":{},"features":{}}'), status=2
    )
    assert "is neither a JSON array nor JSON lines" in run("push", _written(tmp_path / "x.jsonl", "{"), status=2)
    assert "no row is stored under the key" in run("get", "shop=north", "stock=1", "day=1999-01-01", status=1)
    assert "has no column 'day'" in run("load", _sampled(rows, tmp_path), status=2)
    rows.head(0).to_parquet(tmp_path / "empty.parquet")
    assert "contains no rows" in run("load", tmp_path / "empty.parquet", status=2)
    assert json.loads(run("stats"))["rows"] == 300


def _written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def _sampled(rows, tmp_path):
    rows.drop(columns="day").to_parquet(tmp_path / "lacking.parquet")
    return tmp_path / "lacking.parquet"


def test_inspect_reports_the_rows(built, capsys):
    assert main(["inspect", str(built)]) == 0
    stdout = " ".join(capsys.readouterr().out.split())
    assert (
        "300 rows by day (date), shop (string), stock (integer), true as of seen, 300 with their contributions"
        in stdout
    )
    assert "features.parquet" in stdout


def test_a_server_needs_pyarrow_only_to_import_rows(built, tmp_path):
    """The process that serves opens both stores without importing pyarrow or NumPy."""
    import_rows(read_bundle(built), tmp_path)
    code = f"""
import sys
from pathlib import Path
from mlrf.core.bundle import read_bundle
from mlrf.features.open_stores import open_explanations, open_store
bundle = read_bundle({str(built)!r})
open_store(bundle, Path({str(tmp_path)!r})); open_explanations(bundle, Path({str(tmp_path)!r}))
print([name for name in ("pyarrow", "numpy", "redis") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
