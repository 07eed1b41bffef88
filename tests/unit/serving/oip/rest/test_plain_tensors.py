"""The kernel reads a request of one tensor as the other parsers do, or leaves it to them."""

from __future__ import annotations

import json
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from examples import examples
from mlrf.core.errors import MlrfError
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.serving.oip.rest.plain_tensors import kernel_reader
from mlrf.serving.oip.rest.request_body import read_request
from mlrf.serving.oip.tensor_reader import TensorReader

SCHEMA = Schema(
    (
        Feature("x", nullable=True),
        Feature("n", Kind.INTEGER),
        Feature("b", Kind.BOOLEAN, nullable=True),
        Feature("c", Kind.CATEGORICAL, categories=("low", "high")),
    )
)
MAX_ROWS = 5
READER = TensorReader(SCHEMA, Leniency(), MAX_ROWS, None, 1)
READ = kernel_reader(READER, {name: name for name in READER.one_tensor_names}, {"prediction": None}).read
ROW = [0.1, 7, 1, 0]


def bits(rows):
    return bytes(memoryview(rows).cast("B"))


def by_parsers(body):
    """The name of the input, the rows and the id, or the error."""
    try:
        request = read_request("m", body, None, 0.0)
        n_rows, rows = READER.table(request.inputs)
    except MlrfError as error:
        return error.code
    return request.inputs[0].name, n_rows, bits(rows), request.id


def by_kernel(body):
    read = READ(body, None)
    if read is None:
        return None
    name, n_rows, table, request_id, _ = read
    return name, n_rows, bits(table), request_id


def request(data, **members):
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP64"} | members | {"data": data}
    return {"inputs": [tensor]}


numbers = st.one_of(
    st.sampled_from([0, 1, -1, -0.0, 0.1, 1e-320, 3.5e38, 1e308, 2**53 + 1, None, True, "1"]),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=examples(600))
@given(
    rows=st.lists(st.lists(numbers, min_size=3, max_size=5) | st.just(ROW), min_size=1, max_size=6),
    nested=st.booleans(),
    datatype=st.sampled_from(["FP64", "FP32", "INT64"]),
    name=st.sampled_from(["features", "input-0", "predict", "x", "other"]),
    request_id=st.sampled_from([None, "", "a b", "é", 'q"', 5]),
    is_first=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_a_tensor_is_read_as_by_the_parsers(rows, nested, datatype, name, request_id, is_first, indent):
    data = rows if nested else [value for row in rows for value in row]
    body = request(data, shape=[len(rows), len(SCHEMA.features)], datatype=datatype, name=name)
    if request_id is not None:
        body = {"id": request_id} | body if is_first else body | {"id": request_id}
    text = json.dumps(body, indent=indent).encode()
    read = by_kernel(text)
    assert read is None or read == by_parsers(text)


@settings(max_examples=examples(600))
@given(st.data())
def test_a_damaged_request_is_read_as_by_the_parsers(data):
    text = bytearray(json.dumps({"id": "7"} | request([ROW, ROW], shape=[2, 4])).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(
            st.sampled_from(b'0123456789.eE+-,[]{}":ntf \\\x00\xff')
        )
    if data.draw(st.booleans()):
        del text[data.draw(st.integers(0, len(text))) :]
    read = by_kernel(bytes(text))
    assert read is None or read == by_parsers(bytes(text))


@pytest.mark.parametrize(
    "body",
    [
        request(ROW),
        request([ROW, ROW], shape=[2, 4]),
        request([*ROW, None, *ROW[1:]], shape=[2, 4], datatype="FP32"),
        {"id": "42"} | request(ROW),
        request(ROW, name="input-0") | {"id": "42"},
        {"inputs": [{"datatype": "FP64", "shape": [1, 4], "name": "predict", "data": ROW}]},
    ],
)
def test_requests_of_common_clients_are_plain(body):
    for text in (json.dumps(body), json.dumps(body, separators=(",", ":")), json.dumps(body, indent=2)):
        assert by_kernel(text.encode()) == by_parsers(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(request(ROW) | {"parameters": {"timeout": 1}}),
        json.dumps(request(ROW) | {"outputs": [{"name": "shap_values"}]}),
        json.dumps(request(ROW, parameters={"binary_data_size": 32})),
        json.dumps(request(ROW * 6, shape=[6, 4])),
        json.dumps(request(ROW, shape=[1, 4, 1])),
        json.dumps(request(ROW)).replace("[1, 4]", "[01, 4]"),
        json.dumps(request(ROW)).replace("[1, 4]", "[1, 99999999999999999999]"),
        json.dumps(request([1e39, *ROW[1:]], datatype="FP32")),
        json.dumps(request(ROW)) + "}",
    ],
)
def test_other_requests_are_left_to_the_parsers(text):
    assert by_kernel(text.encode()) is None


def test_float32_numbers_are_rounded():
    (rounded,) = struct.unpack("<f", struct.pack("<f", 0.1))
    assert READ(json.dumps(request(ROW, datatype="FP32")).encode(), None)[2][0] == rounded


def test_a_feature_or_a_field_of_the_key_is_no_tensor_of_all_features():
    schema = Schema((Feature("features"), Feature("x")))
    names = TensorReader(schema, Leniency(), MAX_ROWS, None, 1).one_tensor_names
    assert "features" not in names
    assert "input-0" in names
