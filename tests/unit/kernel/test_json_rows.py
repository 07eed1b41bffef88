"""The kernel reads plain batches of JSON bit for bit as Python reads their numbers, and nothing that is not certainly valid."""

from __future__ import annotations

import json
import math
import random
import struct
import sys

import pytest

from mlrf._kernel import JsonRows

_LARGEST = sys.float_info.max
NUMBER = ("x", -_LARGEST, _LARGEST, False, True, False)
COLUMNS = [
    ('"a"', -_LARGEST, _LARGEST, False, True, False),
    ('"b"', -10.0, 10.0, True, False, False),
    ('"c"', 0.0, 1.0, True, True, True),
]
ROWS = JsonRows(COLUMNS, True, 3)
NO_NUMBERS = [
    "",
    "1 2",
    "1,2",
    "-",
    "01",
    "1.",
    ".5",
    "1.e1",
    "1e",
    "1e+",
    "+1",
    "-0",
    "1e999",
    "-1e999",
    "1e9999999999",
]
NO_NUMBERS += ["NaN", "Infinity", "nul", "true", "0x1", "1_0", "[1]", '"1"', "12345678901234567890", "1" * 400]


def read_numbers(texts):
    rows = ",".join(f'{{"features":[{text}]}}' for text in texts)
    body = f'{{"instances":[{rows}]}}'
    read = JsonRows([NUMBER], False, len(texts)).read(body.encode())
    return None if read is None else read[0]


def as_table(numbers):
    return struct.pack(f"{len(numbers)}d", *numbers)


def test_numbers_have_the_bits_of_python():
    drawn = random.Random(3)
    texts = [repr(drawn.uniform(-1, 1) * 10.0 ** drawn.randint(-40, 40)) for _ in range(4000)]
    texts += [repr(struct.unpack("d", drawn.randbytes(8))[0]) for _ in range(1000)]
    texts = [text for text in texts if math.isfinite(float(text))]
    # Halfway between two float64, and beside it.
    for _ in range(500):
        whole = drawn.randrange(1 << 53, 1 << 54) | 1
        texts += [str(whole - 1), str(whole), str(whole + 1), f"{whole}e{drawn.randint(-30, 30)}", f"{whole}.0"]
        texts.append(f"{whole}.{drawn.choice(['5', '25', '75'])}")
    texts += [f"{drawn.randrange(10**19)}e{drawn.randint(-27, 27)}" for _ in range(3000)]
    texts += ["9007199254740993", "9007199254740992.5", f"0.{'0' * 19}12345", "1E+2", "-0.0", "0", "0e5", "5e-324"]
    read = read_numbers(texts)
    assert read is not None
    wrong = [text for text, number in zip(texts, read, strict=True) if as_table([number]) != as_table([float(text)])]
    assert not wrong


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_text_that_may_be_no_number_is_left_to_other_parsers(text):
    assert read_numbers([text]) is None


def test_batch_with_spaces_nulls_and_booleans():
    body = b' {\n"instances" : [ {"features": [null, -3, true]}, {"features" :[ 1.5,10.0 ,\tfalse ] } ] }\r\n'
    table, explain = ROWS.read(body)
    assert explain is False
    assert table.tobytes() == as_table([math.nan, -3.0, 1.0, 1.5, 10.0, 0.0])


def test_batch_of_rows_by_name():
    body = b'{"instances":[{"features":{"a":0.5,"b":7,"c":null}}, {"features": {"a": null, "b": 0, "c": true}}]}'
    assert ROWS.read(body)[0].tobytes() == as_table([0.5, 7.0, math.nan, math.nan, 0.0, 1.0])
    assert JsonRows(COLUMNS, False, 3).read(body) is None


@pytest.mark.parametrize(
    "instance",
    [
        '{"features":[1,2]}',
        '{"features":[1,2,true,4]}',
        '{"features":[1,null,true]}',
        '{"features":[1,11,true]}',
        '{"features":[1,2.5,true]}',
        '{"features":[1,-0.0,true]}',
        '{"features":[1,2,1]}',
        '{"features":[1,2,true,]}',
        '{"features":[1,2,true],"explain":true}',
        '{"features":[1,2,true]',
        '{"features":[true,2,true]}',
        '{"features":{"b":2,"a":1,"c":true}}',
        '{"features":{"a":1,"b":2}}',
        '{"features":{"a":1,"b":2,"c":true,"d":1}}',
        '{"features":{"a":1,"a":1,"b":2,"c":true}}',
        '{"features":{"a":1,"b":2,"c":true]}',
        '{"feature":[1,2,true]}',
        '[{"features":[1,2,true]}]',
        "[1,2,true]",
        "null",
    ],
)
def test_instances_that_are_not_plain_are_left_to_other_parsers(instance):
    fine = '{"features":[1,2,true]}'
    assert ROWS.read(f'{{"instances":[{fine},{fine}]}}'.encode()) is not None
    for instances in ([instance], [fine, instance], [instance, fine]):
        assert ROWS.read(f'{{"instances":[{",".join(instances)}]}}'.encode()) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"instances":[]}', b'{"instances":[{"features":[1,2,true]}],"explain":null}']
    + [b'{"instances":[{"features":[1,2,true]}]} x', b'{"instances":[{"features":[1,2,true]},]}', b"[" * 5000]
    + [b'{"instances":[{"features":[1,2,true]}]}'[:end] for end in range(39)],
)
def test_bodies_that_are_not_plain_are_left_to_other_parsers(body):
    assert ROWS.read(body) is None


def test_more_rows_than_allowed_are_left_to_other_parsers():
    rows = [[1, 2, True]] * 4
    bodies = [json.dumps({"instances": [{"features": row} for row in rows[:n]]}).encode() for n in (3, 4)]
    assert ROWS.read(bodies[0]) is not None
    assert ROWS.read(bodies[1]) is None


def test_wrong_columns_and_bodies_are_errors():
    with pytest.raises(ValueError, match="three flags"):
        JsonRows([("x", 0.0, 1.0)], False, 1)
    with pytest.raises(TypeError):
        ROWS.read("{}")
