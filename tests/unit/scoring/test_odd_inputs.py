"""Parquet files and arguments of every odd kind given to `mlrf.score`: answered, or refused in mlrf's own words."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import shutil
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.errors import ConfigError, InvalidRequestError, MlrfError
from mlrf.scoring.single_output import score_to
from odd_rows import EXAMPLE


def table(**columns):
    return pa.table({name: columns.get(name, [value]) for name, value in EXAMPLE.items()})


TABLES = {
    "no rows": lambda: table()[:0],
    "no columns": lambda: pa.table({}),
    "a column twice": lambda: table().append_column("price", pa.array([1.0])),
    "lists": lambda: table(price=[[1, 2]]),
    "ragged lists": lambda: table(price=pa.chunked_array([[[1]], []], pa.list_(pa.int64()))),
    "structures": lambda: table(price=[{"a": 1}]),
    "nulls": lambda: table(price=pa.nulls(1)),
    "nulls in all columns": lambda: pa.table({name: pa.nulls(2) for name in EXAMPLE}),
    "dictionaries": lambda: table(store=pa.array(["nowhere"]).dictionary_encode()),
    "dictionaries of numbers": lambda: table(price=pa.array([1.5]).dictionary_encode()),
    "dates": lambda: table(price=[dt.date(2020, 1, 1)]),
    "times beyond datetime": lambda: table(price=pa.array([2**62], pa.timestamp("ms"))),
    "durations": lambda: table(price=[dt.timedelta(1)]),
    "decimals": lambda: table(price=[Decimal("1.5")]),
    "bytes": lambda: table(store=[b"\xff"]),
    "no UTF-8": lambda: table(store=pa.array([b"\xff"]).view(pa.string())),
    "half floats": lambda: table(price=pa.array(np.array([1.5], np.float16))),
    "booleans": lambda: table(price=[True]),
    "text": lambda: table(price=["1.5"]),
    "infinity": lambda: table(price=[np.inf]),
    "big integers": lambda: table(count=pa.array([2**64 - 1], pa.uint64())),
    "a column too many": lambda: table().append_column("surplus", pa.array([1.0])),
    "pandas' NA": lambda: pa.Table.from_pandas(pd.DataFrame([EXAMPLE | {"price": pd.NA}]).convert_dtypes()),
}
INPUTS = {
    "nothing": list,
    "None": lambda: None,
    "a number": lambda: 3,
    "numbers": lambda: [3],
    "None in a list": lambda: [None],
    "a table": table,
    "tables": lambda: [table()],
    "a frame": lambda: pd.DataFrame([EXAMPLE]),
    "an array": lambda: np.zeros((1, 3)),
    "a path": lambda: "rows.parquet",
    "an empty text": lambda: [""],
    "a null character": lambda: ["a\0b"],
    "a lone surrogate": lambda: ["\ud800"],
    "a long name": lambda: ["a" * 5000],
    "a generator": lambda: (name for name in ["rows.parquet"]),
    "bytes": lambda: [b"rows.parquet"],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("odd") / "b")


@pytest.mark.parametrize("keep", [[], ["price"]])
@pytest.mark.parametrize("kind", TABLES)
def test_odd_files_are_scored_or_refused_in_our_own_words(bundle, kind, keep, tmp_path):
    pq.write_table(TABLES[kind](), tmp_path / "rows.parquet")
    try:
        mlrf.score(bundle, [tmp_path / "rows.parquet"], tmp_path / "out", keep=keep)
    except MlrfError as error:
        assert len(str(error)) < 500


@pytest.mark.parametrize("kind", INPUTS)
def test_odd_inputs_are_scored_or_refused_in_our_own_words(bundle, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(table(), "rows.parquet")
    try:
        mlrf.score(bundle, INPUTS[kind](), "out")
    except MlrfError as error:
        assert len(str(error)) < 500


def test_a_path_is_scored_and_a_table_is_refused(bundle, tmp_path):
    pq.write_table(table(), tmp_path / "rows.parquet")
    assert mlrf.score(bundle, tmp_path / "rows.parquet", tmp_path / "out").rows == 1
    for given in (table(), [table()], pd.DataFrame([EXAMPLE])):
        with pytest.raises(ConfigError, match=r"not (Table|DataFrame); .* mlrf\.scoring\.Scorer"):
            mlrf.score(bundle, given, tmp_path / "other")


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


LINE = json.dumps({"id": "a", **EXAMPLE}) + "\n"
CELLS = ",".join("" if value is None else str(value).lower() for value in EXAMPLE.values())
HEADER = ",".join(EXAMPLE)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("bom.jsonl", "\ufeff" + LINE * 2, 2),
        ("bom.json", "\ufeff[" + LINE + "]", 1),
        ("blank.jsonl", "\n \n" + LINE + "\n\n" + LINE, 2),
        ("header.csv", HEADER, 0),
        ("padded.csv.gz", gzip.compress(f"{HEADER}\n{CELLS}\n".encode()) + bytes(512), 1),
    ],
)
def test_files_that_other_programs_write_are_read(bundle, tmp_path, name, content, rows):
    assert mlrf.score(bundle, write(tmp_path / name, content), tmp_path / "out").rows == rows


def test_features_may_be_a_member_beside_an_id(bundle, tmp_path):
    rows = [EXAMPLE, {**EXAMPLE, "price": -2.0}, list(EXAMPLE.values())]
    rows[2] = mlrf.load(bundle).schema.row(EXAMPLE)
    lines = [{"id": index, "note": None, "features": row} for index, row in enumerate(rows)]
    write(tmp_path / "rows.jsonl", "".join(json.dumps(each) + "\n" for each in lines))
    for keep, names in ((["id"], ["id", "prediction"]), ("all", ["id", "note", *EXAMPLE, "prediction"])):
        mlrf.score(bundle, tmp_path / "rows.jsonl", tmp_path / f"out-{keep}", keep=keep)
        (part,) = (tmp_path / f"out-{keep}").glob("part-*")
        found = pq.ParquetFile(part).read()
        assert found.column_names == names
        assert found["id"].to_pylist() == ["0", "1", "2"]
        assert found["prediction"].to_pylist() == mlrf.load(bundle).predict(rows).tolist()


def test_a_row_with_a_member_features_is_read_by_its_names(bundle, tmp_path):
    write(tmp_path / "rows.jsonl", json.dumps({**EXAMPLE, "features": {**EXAMPLE, "price": 7.0}}) + "\n")
    mlrf.score(bundle, tmp_path / "rows.jsonl", tmp_path / "out")
    (part,) = (tmp_path / "out").glob("part-*")
    assert pq.ParquetFile(part).read()["prediction"].to_pylist() == mlrf.load(bundle).predict([EXAMPLE]).tolist()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nan.jsonl", LINE + '{"price": NaN}\n', r"nan\.jsonl is neither .*: row 1: .*: \{\"price\": NaN\}"),
        ("cut.csv.gz", gzip.compress(f"{HEADER}\n{CELLS}\n".encode())[:-3], "the compressed data ends too early"),
        ("tail.csv.gz", gzip.compress(f"{HEADER}\n{CELLS}\n".encode()) + b"tail", "the compressed data is damaged"),
        ("utf16.csv", f"{HEADER}\n{CELLS}\n".encode("utf-16"), r"is not CSV in UTF-8: .*; convert it"),
        (
            "plain.csv",
            gzip.compress(f"{HEADER}\n{CELLS}\n".encode()),
            r"; give a compressed file a name that ends in \.csv\.gz",
        ),
    ],
)
def test_damaged_text_is_refused_where_it_is_wrong(bundle, tmp_path, name, content, said):
    with pytest.raises(MlrfError, match=said):
        mlrf.score(bundle, write(tmp_path / name, content), tmp_path / "out")


def test_a_changed_byte_in_a_page_with_a_checksum_is_refused(bundle, tmp_path):
    path = tmp_path / "rows.parquet"
    rows = table().append_column("id", pa.array([123456789012345]))
    options = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
    pq.write_table(rows, path, write_page_checksum=True, **options)
    content = path.read_bytes()
    ids = (123456789012345).to_bytes(8, "little")
    path.write_bytes(content.replace(ids, bytes(8), 1))
    with pytest.raises(ConfigError, match=r"rows\.parquet cannot be read: .*checksum"):
        mlrf.score(bundle, path, tmp_path / "out", keep=["id"])


def test_a_column_to_keep_is_one_column_of_one_type(bundle, tmp_path):
    ids = table().append_column("id", pa.array([1]))
    pq.write_table(ids.append_column("id", pa.array([2])), tmp_path / "twice.parquet")
    for keep in (["id"], "all"):
        with pytest.raises(ConfigError, match=r"twice\.parquet: there are two columns 'id' to keep"):
            mlrf.score(bundle, tmp_path / "twice.parquet", tmp_path / "out", keep=keep)
    assert mlrf.score(bundle, tmp_path / "twice.parquet", tmp_path / "out").rows == 1
    (tmp_path / "in").mkdir()
    pq.write_table(ids, tmp_path / "in/a.parquet")
    pq.write_table(table().append_column("id", pa.array(["1"])), tmp_path / "in/b.parquet")
    with pytest.raises(ConfigError, match=r"'id' to keep is of type int64 in .*a\.parquet, but string in .*b\.parquet"):
        mlrf.score(bundle, tmp_path / "in", tmp_path / "out2", keep=["id"])
    pq.write_table(table().append_column("id", pa.array([1]).dictionary_encode()), tmp_path / "in/b.parquet")
    assert mlrf.score(bundle, tmp_path / "in", tmp_path / "out3", keep=["id"]).rows == 2
    text = write(tmp_path / "text.csv", f"id,{HEADER}\nA7,{CELLS}\n".encode())
    with pytest.raises(ConfigError, match=r"is of type int64 in .*a\.parquet, but string in .*text\.csv; convert one"):
        mlrf.score(bundle, [tmp_path / "in", text], tmp_path / "out4", keep=["id"])
    assert mlrf.score(bundle, [tmp_path / "in", text], tmp_path / "out4").rows == 3


def test_a_kept_column_of_folders_is_text_in_a_single_output(bundle, tmp_path):
    (tmp_path / "in/id=7").mkdir(parents=True)
    pq.write_table(table(), tmp_path / "in/id=7/a.parquet")
    pq.write_table(table().append_column("id", pa.array([1])), tmp_path / "in/b.parquet")
    inputs = [tmp_path / "in/b.parquet", tmp_path / "in/id=7"]
    with pytest.raises(ConfigError, match=r"is of type int64 in .*b\.parquet, but string in .*id=7/a\.parquet"):
        score_to(tmp_path / "out.arrow", "arrow", bundle, inputs, keep=["id"])
    assert mlrf.score(bundle, inputs, tmp_path / "out", keep=["id"]).rows == 2


@pytest.mark.parametrize(
    ("log", "kind", "remedy"),
    [
        ("_delta_log/00000000000000000000.json", "a Delta table", r"DeltaTable\(path\)\.file_uris\(\)"),
        ("metadata/00001-9c.metadata.json", "an Iceberg table", r"table\.scan\(\)\.plan_files\(\)"),
    ],
)
def test_a_directory_with_files_of_earlier_versions_is_refused(bundle, tmp_path, log, kind, remedy):
    folder = tmp_path / "in/sales"
    (folder / log).parent.mkdir(parents=True)
    (folder / log).write_text("{}")
    pq.write_table(table(), folder / "part-00000.parquet")
    for inputs in (folder, tmp_path / "in"):
        with pytest.raises(
            ConfigError, match=f"is {kind}, whose directory also has files of earlier versions.*{remedy}"
        ):
            mlrf.score(bundle, inputs, tmp_path / "out")
    assert mlrf.score(bundle, folder / "part-00000.parquet", tmp_path / "out").rows == 1


def test_names_are_a_list(bundle, tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet")
    for option in ("keep", "columns"):
        with pytest.raises(ConfigError, match=rf"{option}: pass a list of names, as {option}=\['price'\]"):
            mlrf.score(bundle, tmp_path / "a.parquet", tmp_path / "out", **{option: "price"})


def test_the_output_inside_an_input_directory_is_no_input(bundle, tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(table(), tmp_path / "in/a.parquet")
    for inputs in (tmp_path / "in", f"{tmp_path}/in/**/*.parquet"):
        out = tmp_path / "in" / f"scored-{isinstance(inputs, str)}"
        first = mlrf.score(bundle, inputs, out) if not isinstance(inputs, str) else None
        if first is None:
            shutil.rmtree(tmp_path / "in/scored-False")
            first = mlrf.score(bundle, inputs, out)
        again = mlrf.score(bundle, inputs, out)
        assert (first.rows, again.rows, again.parts_scored, again.run) == (1, 1, 0, first.run)


def test_a_file_that_ends_within_a_quoted_cell_is_refused(bundle, tmp_path):
    """pyarrow takes the cell as if its quote were closed, whatever was cut off."""
    row = ",".join(f'"{value}"' for value in EXAMPLE.values())
    for name, content in (
        ("cut", f"{HEADER}\n{row}\n{row[:-1]}"),
        ("cut with a line", f"{HEADER}\n{row}\n{row[:-1]}\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(content)
        with pytest.raises(InvalidRequestError, match=r"is not CSV in UTF-8: unexpected end of data"):
            mlrf.score(bundle, [tmp_path / f"{name}.csv"], tmp_path / name)


def test_a_quote_within_a_cell_does_not_cut_a_file(bundle, tmp_path):
    (tmp_path / "inches.csv").write_text(f'{HEADER},pipe\n{",".join(map(str, EXAMPLE.values()))},5" pipe\n')
    assert mlrf.score(bundle, [tmp_path / "inches.csv"], tmp_path / "out").rows == 1


def test_a_header_longer_than_what_is_read_of_it_is_refused(bundle, tmp_path):
    (tmp_path / "wide.csv").write_text(",".join((HEADER, *(f"c{index}" for index in range(200_000)))) + "\n1\n")
    with pytest.raises(InvalidRequestError, match="its first line, which names the columns, is longer than 1 MB"):
        mlrf.score(bundle, [tmp_path / "wide.csv"], tmp_path / "out")
