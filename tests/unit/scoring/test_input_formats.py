"""The formats of input: the same rows give the same bits from each, and from hive partitions."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.errors import ConfigError, InvalidFeatureError, InvalidRequestError, MissingFeatureError
from mlrf.scoring import csv_input, json_input, parquet_input, row_batches, score

EXAMPLE = ALL_KINDS.example()
N_ROWS = 400


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("formats") / "b", name="sales")


@pytest.fixture(scope="module")
def table():
    """Rows of every kind of feature, with missing values, and an id."""
    rng = np.random.default_rng(0)
    columns = {"id": [f"{index:05}" for index in range(N_ROWS)]}
    for feature in ALL_KINDS.features:
        example = EXAMPLE[feature.name]
        match feature.kind.value:
            case "numeric":
                values = rng.normal(size=N_ROWS).tolist()
            case "integer":
                values = rng.integers(-5, 500, N_ROWS).tolist()
            case "boolean":
                values = (rng.random(N_ROWS) < 0.5).tolist()
            case _:
                options = list(feature.categories) if feature.categories else [example]
                values = [options[index] for index in rng.integers(len(options), size=N_ROWS)]
        if feature.nullable:
            values = [None if gone else value for value, gone in zip(values, rng.random(N_ROWS) < 0.1, strict=True)]
        columns[feature.name] = values
    return pa.table(columns)


def text(value):
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def as_csv(table, delimiter=","):
    lines = [table.column_names, *zip(*([text(each) for each in column.to_pylist()] for column in table), strict=True)]
    return "".join(delimiter.join(line) + "\n" for line in lines).encode()


def as_json_lines(table):
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()


def as_arrow(table, make, rows=90):
    sink = io.BytesIO()
    with make(sink, table.schema) as writer:
        writer.write_table(table, rows)
    return sink.getvalue()


def as_parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=150)
    return sink.getvalue()


WRITERS = {
    "parquet": as_parquet,
    "arrow": lambda table: as_arrow(table, pa.ipc.new_file),
    "feather": lambda table: as_arrow(table, pa.ipc.new_stream),
    "csv": as_csv,
    "csv.gz": lambda table: gzip.compress(as_csv(table)[:900]) + gzip.compress(as_csv(table)[900:]),
    "jsonl": as_json_lines,
    "jsonl.gz": lambda table: gzip.compress(as_json_lines(table)),
    "json": lambda table: json.dumps(table.to_pylist()).encode(),
}


def scored(out, pattern="part-*", read=pq.read_table):
    return pa.concat_tables([read(path) for path in sorted(out.rglob(pattern))])


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_the_bits_of_predict_in_order(bundle, table, ending, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_input, "_BLOCK_BYTES", 2048)
    monkeypatch.setattr(csv_input, "_PART_BLOCKS", 2)
    monkeypatch.setattr(json_input, "BLOCK_BYTES", 4096)
    (tmp_path / f"rows.{ending}").write_bytes(WRITERS[ending](table))
    summary = score(bundle, tmp_path / f"rows.{ending}", tmp_path / "out", keep=["id"])
    found = scored(tmp_path / "out")
    expected = mlrf.load(bundle).predict(table, unknown_features="ignore")
    assert found["prediction"].to_numpy().tobytes() == expected.tobytes()
    assert found["id"].to_pylist() == table["id"].to_pylist()
    assert summary.rows == N_ROWS
    assert summary.parts > 2 or ending in ("json", "arrow", "feather")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
def test_csv_delimiter_is_detected(bundle, table, delimiter, tmp_path):
    (tmp_path / "rows.csv").write_bytes(as_csv(table, delimiter))
    score(bundle, tmp_path / "rows.csv", tmp_path / "out")
    expected = mlrf.load(bundle).predict(table, unknown_features="ignore")
    assert scored(tmp_path / "out")["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_text_is_not_scored_again_after_an_interruption(bundle, table, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_input, "_BLOCK_BYTES", 2048)
    monkeypatch.setattr(csv_input, "_PART_BLOCKS", 2)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(as_csv(table)))
    whole = score(bundle, tmp_path / "rows.csv.gz", tmp_path / "out")
    parts = sorted((tmp_path / "out").glob("part-*"))
    bytes_of_all = [path.read_bytes() for path in parts]
    parts[1].unlink()
    again = score(bundle, tmp_path / "rows.csv.gz", tmp_path / "out")
    assert (again.parts, again.parts_scored, again.rows) == (whole.parts, 1, N_ROWS)
    assert [path.read_bytes() for path in parts] == bytes_of_all


def test_a_large_row_group_is_read_once_and_cut_into_parts(bundle, table, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_input, "_LARGE_BYTES", 1000)
    monkeypatch.setattr(parquet_input, "BLOCK_BYTES", 1000)
    monkeypatch.setattr("mlrf.scoring.plan.rows_per_batch", lambda *_sizes: 64)
    pq.write_table(table, tmp_path / "rows.parquet")
    summary = score(bundle, tmp_path / "rows.parquet", tmp_path / "out", keep=["id"])
    assert summary.parts == -(-N_ROWS // 64)
    expected = mlrf.load(bundle).predict(table, unknown_features="ignore")
    assert scored(tmp_path / "out")["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_partition_columns_are_features_and_output_folders(bundle, table, tmp_path):
    store = table["store"].to_pylist()
    for value in {*store}:
        folder = tmp_path / "in" / f"store={'__HIVE_DEFAULT_PARTITION__' if value is None else value}"
        folder.mkdir(parents=True)
        rows = table.filter(pa.array([each == value for each in store]))
        pq.write_table(rows.drop_columns(["store"]), folder / "rows.parquet")
        (folder / "more.csv").write_bytes(as_csv(rows.drop_columns(["store"])))
    summary = score(bundle, tmp_path / "in", tmp_path / "out", keep=["id", "store"])
    assert summary.rows == 2 * N_ROWS
    assert {each.parent.name for each in (tmp_path / "out").rglob("part-*")} == {
        each.name for each in (tmp_path / "in").iterdir()
    }
    found = {}
    for path in (tmp_path / "out").rglob("part-*"):
        rows = pq.ParquetFile(path).read()
        assert rows.column_names == ["id", "prediction"], "the partition is in the names of the folders"
        found |= dict(zip(rows["id"].to_pylist(), rows["prediction"].to_pylist(), strict=True))
    expected = mlrf.load(bundle).predict(table, unknown_features="ignore").tolist()
    assert found == dict(zip(table["id"].to_pylist(), expected, strict=True))


def test_all_columns_are_kept_in_their_order(bundle, table, tmp_path):
    pq.write_table(table, tmp_path / "rows.parquet")
    score(bundle, tmp_path / "rows.parquet", tmp_path / "out", keep="all")
    found = scored(tmp_path / "out")
    assert found.column_names == [*table.column_names, "prediction"]
    assert found.drop_columns(["prediction"]).equals(table)


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("r.csv", b"price\n1\n", MissingFeatureError, "r.csv: the file has no column"),
        ("r.csv", b"", MissingFeatureError, "r.csv: the file has no column"),
        ("r.csv.gz", b"no compressed data", ConfigError, "r.csv.gz cannot be read: the compressed data is damaged"),
        ("r.csv.gz", gzip.compress(b"a,b\n" * 100, mtime=0)[:-20], ConfigError, "ends too early"),
        ("r.csv", b"a\xff,b\n1,2\n", InvalidRequestError, "is not CSV in UTF-8"),
        ("r.jsonl", b'{"price": 1}\n{', InvalidRequestError, "neither a JSON array nor JSON lines"),
        ("r.parquet", b"x", InvalidRequestError, "is not a Parquet file"),
        ("r.arrow", b"x", InvalidRequestError, "is not an Arrow IPC file"),
        ("r.xls", b"x", ConfigError, "must be a .* file, not .xls"),
    ],
)
def test_files_that_cannot_be_read_are_refused_by_name(bundle, name, content, kind, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=message):
        score(bundle, tmp_path / name, tmp_path / "out")
    assert not list((tmp_path / "out").glob("part-*"))


def test_a_row_with_too_few_cells_is_named(bundle, table, tmp_path):
    lines = as_csv(table).split(b"\n")
    lines[4] = b"1,2"
    (tmp_path / "r.csv").write_bytes(b"\n".join(lines))
    with pytest.raises(InvalidRequestError, match=rf"r.csv: row 3: has 2 cells, but {table.num_columns} in its header"):
        score(bundle, tmp_path / "r.csv", tmp_path / "out")


def test_a_column_of_an_invalid_type_is_refused_before_scoring(bundle, table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    at = table.column_names.index("price")
    pq.write_table(table.set_column(at, "price", pa.array(["1"] * N_ROWS)), tmp_path / "b.parquet")
    with pytest.raises(InvalidFeatureError, match=r"b.parquet: feature 'price': the column 'price' is of type string"):
        score(bundle, [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["hdfs://host/rows.parquet", "https://host/rows.parquet"])
def test_stores_that_are_not_supported_are_refused_by_name(bundle, address, tmp_path, capsys):
    with pytest.raises(ConfigError, match=address.partition(":")[0]):
        score(bundle, address, tmp_path / "out")
    assert main(["score", str(bundle), address, "-o", str(tmp_path / "out")]) == 2
    assert address.partition(":")[0] in capsys.readouterr().err


def test_cells_are_read_as_numbers_until_one_is_none(bundle, table, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_input, "_BLOCK_BYTES", 2048)
    monkeypatch.setattr(csv_input, "_PART_BLOCKS", 2)
    lines = as_csv(table).split(b"\n")
    at = table.column_names.index("price")
    for row, cell in ((150, b" 1.5 "), (301, b" NA "), (333, b"x")):
        cells = lines[row + 1].split(b",")
        cells[at] = cell
        lines[row + 1] = b",".join(cells)
    (tmp_path / "rows.csv").write_bytes(b"\n".join(lines))
    kinds = []
    real = row_batches.BatchReader.of_text

    def noted(self, part, first_row):
        kinds.append(str(part["price"].type))
        return real(self, part, first_row)

    monkeypatch.setattr(row_batches.BatchReader, "of_text", noted)
    score(bundle, tmp_path / "rows.csv", tmp_path / "out", keep=["id"], on_bad_row="null", workers=1)
    found = scored(tmp_path / "out")
    assert {*kinds} == {"double", "string"}
    assert kinds == sorted(kinds), "numbers first"
    prices = table["price"].to_pylist()
    prices[150], prices[301], prices[333] = 1.5, None, 0.0
    answers = (
        mlrf.load(bundle).predict(table.set_column(at, "price", pa.array(prices)), unknown_features="ignore").tolist()
    )
    answers[333] = None
    assert found["prediction"].to_pylist() == answers
    assert "expected a number" in found["reason"][333].as_py()
