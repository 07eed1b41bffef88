"""Arrays of values that are read and written in pieces equal those read and written at once."""

from __future__ import annotations

import json
import math
import random
from array import array
from functools import cache

import msgspec
import pytest

from mlrf.serving.oip import json_arrays
from mlrf.serving.oip.datatypes import DATATYPES
from mlrf.serving.oip.json_arrays import TooManyValuesError, read_values, write_values
from mlrf.serving.oip.rest.number_arrays import cut_number_arrays
from mlrf.serving.runtime.thresholds import JSON_PIECE_BYTES

N, WIDTH = 24_000, 6
TEXTS = ["a", ",", '","', '", "', "],[", '"],["', "\\", '\\"', "", "ü" * 40, " , ", None]
"""What in a string looks like its end, or like a gap between two."""
KINDS = {
    "FP64": lambda dice: dice.choice([dice.uniform(-9, 9), None, 1, -0.0, 5e-324]),
    "INT64": lambda dice: dice.randrange(-9, 1 << 60),
    "BOOL": lambda dice: dice.random() < 0.5,
    "BYTES": lambda dice: dice.choice(TEXTS),
}


@cache
def values_of(datatype):
    dice = random.Random(5)
    return [KINDS[datatype](dice) for _ in range(N)]


def same(read, values):
    decoded = [None if isinstance(each, float) and math.isnan(each) else each for each in read]
    return list(map(repr, decoded)) == [
        repr(float(v) if isinstance(read, array) and v is not None else v) for v in values
    ]


@pytest.mark.parametrize("datatype", KINDS)
@pytest.mark.parametrize("separators", [(",", ":"), (" ,\n  ", ":")], ids=["dense", "spread"])
def test_a_long_array_is_read_as_at_once_flat_and_nested(datatype, separators, monkeypatch):
    values = values_of(datatype)
    rows = [values[index : index + WIDTH] for index in range(0, N, WIDTH)]
    longest = []

    def watched(decode):
        def read(text):
            longest.append(len(text))
            return decode(text)

        return read

    decoders = json_arrays._DECODERS[datatype]
    monkeypatch.setitem(json_arrays._DECODERS, datatype, tuple(watched(each) for each in decoders))
    for document in (values, rows):
        text = json.dumps(document, separators=separators, ensure_ascii=False).encode()
        assert len(text) > JSON_PIECE_BYTES
        assert same(read_values(text, DATATYPES[datatype], [N // WIDTH, WIDTH], N), values)
    assert len(longest) > 2
    assert max(longest) < 1.2 * JSON_PIECE_BYTES


@pytest.mark.parametrize(
    ("datatype", "wrong"),
    [
        ("FP64", '"1"'),
        ("FP64", "[1]"),
        ("FP64", "{}"),
        ("INT64", "1.5"),
        ("BOOL", "1"),
        ("BYTES", "1"),
    ],
)
@pytest.mark.parametrize("index", [0, N // 2, N - 1])
def test_a_long_array_with_a_value_of_another_kind_is_refused(datatype, wrong, index):
    written = [json.dumps(value) for value in values_of(datatype)]
    written[index] = wrong
    with pytest.raises(msgspec.MsgspecError):
        read_values(f"[{','.join(written)}]".encode(), DATATYPES[datatype], [N], N)


@pytest.mark.parametrize("datatype", ["INT64", "UINT8", "BOOL", "BYTES"])
@pytest.mark.parametrize("index", [0, N // 2, N - 1])
def test_null_is_missing_in_every_datatype(datatype, index):
    values = [
        None if i == index else value for i, value in enumerate(values_of("INT64" if datatype == "UINT8" else datatype))
    ]
    assert read_values(json.dumps(values).encode(), DATATYPES[datatype], [N], N) == values


def test_wrongly_nested_or_non_array_data_is_refused():
    fp64 = DATATYPES["FP64"]
    rows = [[0.5] * WIDTH for _ in range(N // WIDTH)]
    ragged = [*rows[:-1], rows[-1][1:]]
    for document, shape in ((ragged, [N // WIDTH, WIDTH]), (rows, [N]), (rows, [N // 2, 2]), ("x" * N * 9, [N])):
        with pytest.raises(msgspec.MsgspecError):
            read_values(json.dumps(document).encode(), fp64, shape, N)


def test_excess_values_are_not_parsed_to_their_end():
    for document in ([1.0] * 1_000_000, [[1.0]] * 500_000, ["x"] * 500_000):
        datatype = DATATYPES["BYTES" if document[0] == "x" else "FP64"]
        with pytest.raises(TooManyValuesError):
            read_values(json.dumps(document).encode(), datatype, [10, 1], 10)


def test_a_long_array_is_written_as_at_once():
    dice = random.Random(5)
    values = array("d", [dice.uniform(-1, 1) for _ in range(N)] + [math.nan])
    assert bytes(write_values(values)) == msgspec.json.encode(values.tolist())
    assert bytes(write_values(array("d"))) == b"[]"
    assert bytes(write_values(["a", None])) == b'["a",null]'


@pytest.mark.parametrize(
    "wrong", ["[{},]", "[,{}]", "[{},,1]", "[{}", "{}]", "[{}]]", "[[{}]", "[{} 1]", "[{},01]", "[{},.5]"]
)
def test_invalid_json_in_skipped_text_is_refused(wrong):
    text = wrong.format(",".join(["0.25"] * 40_000)).encode()
    with pytest.raises(msgspec.MsgspecError):
        read_values(text, DATATYPES["FP64"], [50_000], 50_000)


def test_comma_at_a_piece_boundary_does_not_end_the_array():
    for n in range(30_000, 30_000 + 40):
        written = ",".join(["0.25"] * n)
        for text in (f"[{written},]", f"[{written[:-4]},,0.25]"):
            with pytest.raises(msgspec.MsgspecError):
                read_values(text.encode(), DATATYPES["FP64"], [n], n)


def document(*data, key='"data"'):
    inputs = ",".join(
        f'{{"name": "a\\"data\\": [", "shape": [9], {key} : {each}, "datatype": "FP64"}}' for each in data
    )
    return f'{{"id": "\\"data\\":[1]", "inputs": [{inputs}], "outputs": [{{"name": "data"}}]}}'.encode()


def test_long_arrays_of_numbers_are_cut_out_and_nothing_else():
    long, nested = json.dumps([0.5] * 30_000), json.dumps([[0.5, None]] * 20_000)
    strings, short = json.dumps(["x"] * 30_000), "[1, 2]"
    whole = document(short, long, strings, nested, long.replace("0.5", "NaN"))
    text, arrays = cut_number_arrays(whole)
    assert len(text) < len(whole) - len(long) - len(nested)
    assert list(arrays.values()) == [long.encode(), nested.encode(), long.replace("0.5", "null").encode()]
    for name, array_text in arrays.items():
        assert text.count(name) == 1
        text = text.replace(name, array_text)
    assert text == whole.replace(b"NaN", b"null")
    for untouched in (document(short), document(strings), b"", b'"data"', b'{"data":', b'{"data":[' + b"1," * 60_000):
        assert cut_number_arrays(untouched) == (untouched, {})
    assert cut_number_arrays(document(long, key='"date"')).arrays == {}
