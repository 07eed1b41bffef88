"""Rows of a model with a feature of every kind, as tensors of each datatype, and what the native API answers for them."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Any

from bundles import ALL_KINDS
from inference_wires import CODES, Tensor
from running import Server

ROW = [9.5, 3, 1, 1, 1, 7, 0.25]
"""Categories as codes."""
N_ROWS = 25
_STORES, _SIZES = ("north", "süd", "east"), (10, 20, 30)
Row = Sequence[float | None]


def native(server: Server, rows: Sequence[Row], model: str = "sample", **more: Any) -> dict[str, Any]:
    """The native API's answer for rows of numbers, categories as codes."""
    instances = [{"features": [*row[:2], None if row[2] is None else row[2] == 1, *row[3:]]} for row in rows]
    answer = server.ask("POST", f"/models/{model}/predict/batch", {"instances": instances, **more})
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json
    return document


def some_rows(datatype: str, n: int = N_ROWS) -> list[Row]:
    """Rows whose values are representable in a datatype: also its extremes, and missing ones if it has them."""
    dice = random.Random(datatype)

    def number() -> float | None:
        match datatype:
            case "FP64":
                return dice.choice([dice.uniform(-3, 3), dice.gauss(0, 1e6), 5e-324, -1.7e308, 0.1, None])
            case "FP32":
                x = dice.choice([dice.uniform(-3, 3), dice.gauss(0, 1e6), 1e-45, 3.4e38])
                return dice.choice([struct.unpack("<f", struct.pack("<f", x))[0], None])
            case "BOOL":
                return dice.randrange(2)
        bits = 8 * struct.calcsize("=" + CODES[datatype])
        least, most = (0, (1 << bits) - 1) if datatype[0] == "U" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        return dice.choice([least, most, dice.randint(least, most), dice.randrange(4), most - 1])

    def whole() -> float | None:
        x = number()
        return x if x is None or isinstance(x, int) else float(int(x))

    def one_of(*values: int) -> int:
        return dice.choice([v for v in values if datatype != "BOOL" or v in (0, 1)])

    rows = []
    for _ in range(n):
        depth = number()
        while depth is None:
            depth = number()
        rows.append([number(), whole(), dice.randrange(2), one_of(0, 1, 2), one_of(0, 1, 2), one_of(0, 1, 7, 9), depth])
    return rows


def one_tensor(rows: Sequence[Row], datatype: str) -> list[Tensor]:
    """The form of one tensor, in schema order."""
    values = [x for row in rows for x in row]
    return [Tensor("features", datatype, _cast(values, datatype), [len(rows), len(rows[0])])]


def _cast(values: Sequence[float | None], datatype: str) -> list[Any]:
    if datatype == "BOOL":
        return [value == 1 for value in values]
    return [float(v) if v is not None and datatype in ("FP32", "FP64") else v for v in values]


def a_tensor_a_feature(rows: Sequence[Row], datatype: str, shape: Sequence[int] = (), order: int = 1) -> list[Tensor]:
    """Categories by value: strings as BYTES, integers as the datatype if that can hold them."""
    inputs = []
    for index, name in enumerate(ALL_KINDS.names):
        column = [row[index] for row in rows]
        kind = datatype
        if name == "store":
            column, kind = [_STORES[code] for code in column], "BYTES"
        elif name == "size":
            column, kind = [_SIZES[code] for code in column], "INT16" if datatype == "BOOL" else datatype
        inputs.append(Tensor(name, kind, column if kind == "BYTES" else _cast(column, kind), [len(rows), *shape]))
    return inputs[::order]
