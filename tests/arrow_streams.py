"""Arrow streams of rows, as pyarrow, pandas and Polars write them, and damaged ones."""

from __future__ import annotations

import io
import random
import struct

import pandas as pd
import polars as pl
import pyarrow as pa

ROWS = [
    {"price": 9.5, "count": 3, "promo": True, "store": "süd", "size": 20, "code": 7, "depth": 0.25},
    {"price": None, "count": None, "promo": None, "store": None, "size": None, "code": None, "depth": -1.5},
    {"price": -1e300, "count": -4, "promo": False, "store": "north", "size": 10, "code": 0, "depth": 5e-324},
]
"""Rows of ALL_KINDS by name."""


def stream(table: pa.Table, max_chunksize: int | None = None, **options: object) -> bytes:
    """The bytes of an IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=max_chunksize)
    return sink.getvalue()


def arrow_table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


def with_dictionaries(index: pa.DataType | None = None) -> pa.Table:
    """The same with dictionaries of strings and of numbers, which hold values that no row uses."""
    table = arrow_table()
    for name, values in (("store", ["unused", "süd", "north", None]), ("size", [99, 10, 20])):
        codes = [None if row[name] is None else values.index(row[name]) for row in ROWS]
        column = pa.DictionaryArray.from_arrays(pa.array(codes, index or pa.int8()), pa.array(values))
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def pandas_frame() -> pa.Table:
    frame = pd.DataFrame(ROWS).astype({"store": "category", "count": "Int64", "promo": "boolean", "size": "float32"})
    return pa.Table.from_pandas(frame, preserve_index=False)


def polars_stream() -> bytes:
    """Strings as views, a Categorical and an Enum, as Polars writes them."""
    sink = io.BytesIO()
    pl.DataFrame(ROWS).with_columns(pl.col("store").cast(pl.Categorical)).write_ipc_stream(sink)
    return sink.getvalue()


def polars_views() -> bytes:
    sink = io.BytesIO()
    pl.DataFrame(ROWS).select(list(reversed(ROWS[0]))).write_ipc_stream(sink)
    return sink.getvalue()


STREAMS = {
    "arrow": lambda: stream(arrow_table()),
    "a record batch a row": lambda: stream(arrow_table(), 1),
    "sliced": lambda: stream(pa.concat_tables([arrow_table(), arrow_table()]).slice(3, 3).combine_chunks()),
    "dictionaries": lambda: stream(with_dictionaries()),
    "dictionaries of unsigned indices": lambda: stream(with_dictionaries(pa.uint32())),
    "floats": lambda: stream(
        arrow_table().cast(
            pa.schema([(f.name, pa.float64() if pa.types.is_integer(f.type) else f.type) for f in arrow_table().schema])
        )
    ),
    "small integers": lambda: stream(
        arrow_table().cast(
            pa.schema([(f.name, pa.int16() if pa.types.is_integer(f.type) else f.type) for f in arrow_table().schema])
        )
    ),
    "large strings": lambda: stream(
        arrow_table().cast(
            pa.schema([(f.name, pa.large_string() if f.name == "store" else f.type) for f in arrow_table().schema])
        )
    ),
    "pandas": lambda: stream(pandas_frame()),
    "polars categories": polars_stream,
    "polars views": polars_views,
}


def damaged(content: bytes, seed: int) -> bytes:
    """A stream with something changed, cut out, doubled, or a number exchanged."""
    rng = random.Random(seed)
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(made))
        match rng.randrange(5):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                del made[at : at + rng.choice((1, 4, 8, 64))]
            case 2:
                made[at:at] = made[at : at + rng.choice((1, 4, 8, 64))]
            case 3:
                at -= at % 4
                number = rng.choice((0, 1, -1, 7, 1 << 20, (1 << 31) - 1, -(1 << 31)))
                made[at : at + 4] = struct.pack("<i", number)
            case _:
                at -= at % 8
                number = rng.choice((0, 1, -1, 1 << 40, (1 << 62) + 1, -(1 << 63)))
                made[at : at + 8] = struct.pack("<q", number)
        if not made:
            return b""
    return bytes(made)
