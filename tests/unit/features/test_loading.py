"""Rows from Parquet into the embedded store: valid rows are read to the bit, invalid ones refused with row and column."""

# ruff: noqa: DTZ001  columns of naive times are what is tested

from __future__ import annotations

import datetime as dt
import math
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import ALL_KINDS
from mlrf.core.errors import FeaturesUnavailableError, RowsError
from mlrf.features.bulk_load import load_rows
from mlrf.features.entity_key import entity_key
from mlrf.features.interface import Batch
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.row_format import RowFormat
from mlrf.features.rows_parquet import RowsFile, column_types

ROWS = RowFormat(ALL_KINDS, entity_key([("id", "integer"), ("city", "string"), ("day", "date"), ("open", "boolean")]))
DAY = dt.date(2026, 1, 31)


def table(n: int = 5, **columns) -> dict:
    """Columns of n valid rows, some of them replaced."""
    right = {
        "id": list(range(n)),
        "city": [f"city {i % 3}" for i in range(n)],
        "day": [DAY] * n,
        "open": [i % 2 == 0 for i in range(n)],
        "price": [i / 4 for i in range(n)],
        "count": list(range(n)),
        "promo": [True] * n,
        "store": ["süd"] * n,
        "size": [20] * n,
        "code": [7] * n,
        "depth": [0.5] * n,
        "unused": ["x"] * n,
    }
    return {**right, **columns}


def write(path, columns) -> object:
    pq.write_table(pa.table({k: v for k, v in columns.items() if v is not None}), path / "rows.parquet")
    return path / "rows.parquet"


@pytest.fixture
def store(tmp_path):
    made = LmdbStore(tmp_path / "store", ROWS)
    yield made
    made.release()


def load(store, path, **how):
    return load_rows(store, RowsFile(path, ROWS, **how), "rows.parquet")


def key(i: int) -> bytes:
    return ROWS.key.encode({"id": i, "city": f"city {i % 3}", "day": DAY.isoformat(), "open": i % 2 == 0})


def test_every_row_is_read_back_as_the_schema_reads_it_alone(store, tmp_path):
    n = 40_000  # more than a batch and more than a run, in no order
    order = list(range(n))
    random.Random(1).shuffle(order)
    columns = table(
        n, price=[None if i % 7 == 0 else i / 4 for i in range(n)], size=[(10, 20, 30, None)[i % 4] for i in range(n)]
    )
    columns = {name: [values[i] for i in order] for name, values in columns.items()}
    assert load(store, write(tmp_path, columns)).rows == n
    for index in range(0, n, 997):
        i = order[index]
        instance = {name: columns[name][index] for name in ALL_KINDS.names}
        row = store.read(key(i))
        assert list(map(repr, row.values)) == list(map(repr, ALL_KINDS.row(instance)))
    assert store.count().rows == n
    keys = [k for batch in store.in_order(1000) for k in batch.keys]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    "columns",
    [
        {"id": pa.array(range(5), pa.uint8()), "count": pa.array(range(5), pa.int16())},
        {"id": [0.0, 1.0, 2.0, 3.0, 4.0], "count": [0.0, 1.0, 2.0, 3.0, 4.0]},
        {"count": [-0.0, 1.0, 2.0, 3.0, 4.0]},
        {"city": pa.array([f"city {i % 3}" for i in range(5)]).dictionary_encode(), "store": pa.array(["süd"] * 5).dictionary_encode()},
        {"day": pa.array([dt.datetime(2026, 1, 31)] * 5, pa.timestamp("ns"))},
        {"day": pa.array([dt.datetime(2026, 1, 31)] * 5, pa.timestamp("s", tz="UTC"))},
        {"day": pa.array([DAY] * 5, pa.date64()), "price": pa.array([i / 4 for i in range(5)], pa.float32())},
        {"day": ["2026-01-31"] * 5, "city": pa.array([f"city {i % 3}" for i in range(5)], pa.large_string())},
        {"promo": pa.array([True] * 5).dictionary_encode()},
    ],
)  # fmt: skip
def test_columns_that_mean_the_same_make_the_same_rows(store, tmp_path, columns):
    load(store, write(tmp_path, table()))
    first = list(store.in_order(100))
    load(store, write(tmp_path, table(**columns)))
    assert list(store.in_order(100)) == first


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": None}, "no column 'id' for the key; it has 'city'"),
        ({"price": None, "promo": None}, "no column 'price', 'promo' of the model's features"),
        ({"id": [0, 1, 2, None, 4]}, "row 3: the key's column 'id' must be an integer within 64 bits, not a missing value"),
        ({"id": [0.0, 1.0, 2.5, 3.0, 4.0]}, "row 2: the key's column 'id'"),
        ({"id": ["0", "1", "2", "3", "4"]}, "row 0: the key's column 'id' must be an integer within 64 bits, not the string"),
        ({"id": pa.array([1 << 63] * 5, pa.uint64())}, "row 0: the key's column 'id'"),
        ({"city": [1, 2, 3, 4, 5]}, "row 0: the key's column 'city' must be a string, not the number 1"),
        ({"city": ["a", "b", "x" * 600, "c", "d"]}, "row 2: the key is longer than 511 bytes"),
        ({"day": [dt.datetime(2026, 1, 31, 6)] * 5}, "row 0: the key's column 'day' is a date, but contains 2026-01-31 06:00:00, which is not midnight"),
        ({"day": ["31.1.2026"] * 5}, "row 0: the key's column 'day' must be a date YYYY-MM-DD"),
        ({"open": [1, 0, 1, 0, 1]}, "row 0: the key's column 'open' must be true or false"),
        ({"price": ["1", "2", "3", "4", "5"]}, "row 0: feature 'price': expected a number, got the string"),
        ({"price": [0.0, 1.0, math.inf, 3.0, 4.0]}, "row 2: feature 'price': expected a number within the range of float64"),
        ({"count": [0.0, 1.0, 2.0, 3.5, 4.0]}, "row 3: feature 'count': expected an integer"),
        ({"promo": [1, 0, 1, 0, 1]}, "row 0: feature 'promo': expected true or false"),
        ({"store": ["süd", "süd", "west", "süd", "süd"]}, "row 2: feature 'store': the string \"west\" is not one of its categories"),
        ({"code": [1, 2, 3, 4, 5.5]}, "row 4: feature 'code': expected an integer category code"),
        ({"depth": [0.5, None, 0.5, 0.5, 0.5]}, "row 1: feature 'depth': expected a value"),
        ({"depth": [0.5, math.nan, 0.5, 0.5, 0.5]}, "row 1: feature 'depth': expected a value"),
        ({"price": [[1.0]] * 5}, "feature 'price' contains"),
        ({"price": [dt.datetime(2026, 1, 1)] * 5}, "row 0: feature 'price' contains 2026-01-01 00:00:00, a datetime"),
    ],
)  # fmt: skip
def test_invalid_rows_are_refused_and_change_nothing(store, tmp_path, columns, message):
    load(store, write(tmp_path, table()))
    before = store.count()
    with pytest.raises(RowsError) as refused:
        load(store, write(tmp_path, table(**columns)))
    assert message in str(refused.value)
    after = store.count()
    assert (after.rows, after.transaction) == (before.rows, before.transaction)
    assert store.read(key(4)) is not None


def test_latest_row_of_a_key_is_kept_and_undated_ones_refused(store, tmp_path):
    twice = table(4, id=[1, 1, 2, 2], city=["a"] * 4, open=[True] * 4)
    for columns in (twice, {name: values[::-1] for name, values in twice.items()}):
        with pytest.raises(RowsError, match=r"two rows have the key .*'id': 1.*, both without an as-of time"):
            load(store, write(tmp_path, columns))
    times = [dt.datetime(2026, 1, day) for day in (2, 1, 1, 2)]
    loaded = load(store, write(tmp_path, {**twice, "at": times}), as_of_column="at")
    assert (loaded.rows, loaded.superseded) == (2, 2)
    prices = [
        store.read(ROWS.key.encode({"id": i, "city": "a", "day": "2026-01-31", "open": True})).values[0] for i in (1, 2)
    ]
    assert prices == [0.0, 0.75]
    with pytest.raises(RowsError, match="both of the same as-of time"):
        load(store, write(tmp_path, {**twice, "at": times[:1] * 4}), as_of_column="at")


@pytest.mark.parametrize(
    "times",
    [
        pa.array([dt.datetime(2026, 1, 31, 6)] * 5, pa.timestamp("ns")),
        pa.array([dt.datetime(2026, 1, 31, 6)] * 5, pa.timestamp("ms", tz="Europe/Berlin")),
        pa.array(["2026-01-31T07:00:00+01:00"] * 5),
    ],
)
def test_as_of_times_are_utc_whatever_their_type(store, tmp_path, times):
    load(store, write(tmp_path, table(at=times)), as_of_column="at")
    assert store.read(key(0)).as_of_us == 1_769_839_200_000_000


def test_as_of_times_may_be_missing_or_dates_but_not_out_of_time(store, tmp_path):
    load(store, write(tmp_path, table(at=pa.array([DAY, None, DAY, DAY, DAY]))), as_of_column="at")
    assert [store.read(key(i)).as_of_us for i in (0, 1)] == [1_769_817_600_000_000, None]
    with pytest.raises(RowsError, match="row 0: the as-of column 'at' is outside the years 1 to 9999"):
        load(store, write(tmp_path, table(at=pa.array([1 << 45] * 5, pa.timestamp("s")))), as_of_column="at")
    with pytest.raises(RowsError, match="row 0: the as-of column 'at': 'soon' is not an RFC 3339 time"):
        load(store, write(tmp_path, table(at=["soon"] * 5)), as_of_column="at")


def test_features_may_be_absent_where_that_is_said(store, tmp_path):
    load(store, write(tmp_path, table(price=None, depth=None)), partial=True)
    row = store.read(key(1))
    assert (row.absent, math.isnan(row.values[0]), row.values[1]) == ((0, 6), True, 1.0)


def test_what_is_pushed_during_a_load_survives_it(store):
    """The load's batches are made here, so that a push falls between two of them."""
    old, new, newest = (ROWS.pack([float(x)] + [1.0] * 6, x) for x in (1, 2, 3))

    class Source:
        def batches(self):
            yield Batch([key(0)], [new])
            assert store.upsert([(key(0), newest), (key(1), newest), (key(2), old)]).written == 3
            assert store.read(key(1)).values[0] == 3.0  # at once
            yield Batch([key(1)], [new])
            yield Batch([key(2)], [new])

    load_rows(store, Source(), "batches")
    assert [store.read(key(i)).values[0] for i in (0, 1, 2)] == [3.0, 3.0, 2.0]


def test_a_load_becomes_visible_in_one_step(store):
    store.upsert([(key(i), ROWS.pack([1.0] + [1.0] * 6)) for i in range(3)])
    seen = []

    class Source:
        def batches(self):
            for i in range(3):
                yield Batch([key(i)], [ROWS.pack([2.0] + [1.0] * 6)])
                seen.append((store.read(key(0)).values[0], store.transaction()))

    load_rows(store, Source(), "batches")
    assert seen == [(1.0, 1)] * 3
    assert (store.read(key(0)).values[0], store.transaction()) == (2.0, 2)


def test_one_load_at_a_time(store):
    class Source:
        def batches(self):
            with pytest.raises(FeaturesUnavailableError, match="another process is loading"):
                load_rows(store, self, "batches")
            yield Batch([key(0)], [ROWS.pack([1.0] + [1.0] * 6)])

    load_rows(store, Source(), "batches")


def test_damaged_files_are_refused_or_read_unchanged(store, tmp_path):
    """1,000 files with bytes changed, cut off or put in: no crash, and no row that is not of the schema."""
    path = write(tmp_path, table(300))
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        match rng.integers(4):
            case 0:
                damaged = damaged[: rng.integers(len(whole))]
            case 1:
                position = rng.integers(len(whole))
                damaged[position:position] = rng.bytes(int(rng.integers(1, 9)))
            case _:
                for position in rng.integers(len(whole), size=rng.integers(1, 6)):
                    damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            for batch in RowsFile(path, ROWS).batches():
                for raw, record in zip(batch.keys, batch.records, strict=True):
                    ROWS.key.decode(raw)
                    ROWS.schema.instance(list(ROWS.unpack(key, record, 0).values))
        except RowsError as error:
            assert len(str(error)) > 20
            refused += 1
    assert refused > 500


def test_the_type_of_a_key_is_that_of_its_column(tmp_path):
    types = column_types(write(tmp_path, table(at=[dt.datetime(2026, 1, 1)] * 5)))
    assert {n: types.get(n) for n in ("id", "city", "day", "open", "price", "at")} == {
        "id": "integer", "city": "string", "day": "date", "open": "boolean", "price": None, "at": "date",
    }  # fmt: skip
