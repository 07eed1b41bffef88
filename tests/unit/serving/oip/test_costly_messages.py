"""Messages designed to cost a server far more than their sender are refused at the cost of skipping over them."""

from __future__ import annotations

import time
import tracemalloc
from array import array
from contextlib import contextmanager

import pytest

from bundles import NUMBERS, rows_of, write_tree_bundle
from mlrf.core.errors import BatchTooLargeError, InvalidTensorError, MalformedRequestError
from mlrf.core.feature import Feature
from mlrf.core.leniency import Leniency
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from mlrf.model import load
from mlrf.serving.native.json_scanner import whole_document
from mlrf.serving.oip import computed_values
from mlrf.serving.oip.counts import CountLimits
from mlrf.serving.oip.datatypes import DATATYPES
from mlrf.serving.oip.grpc import message_codec
from mlrf.serving.oip.grpc.message_codec import read_request
from mlrf.serving.oip.grpc.message_types import message
from mlrf.serving.oip.inference_run import InferenceRun
from mlrf.serving.oip.messages import InferRequest, InputTensor
from mlrf.serving.oip.output_tensors import Outputs
from mlrf.serving.oip.rest import request_body
from mlrf.serving.oip.rest.number_arrays import cut_number_arrays
from mlrf.serving.oip.tensor_reader import TensorReader

READER = TensorReader(NUMBERS, Leniency(), 10, None, 10)
LONG = b"1 " * 40_000
"""More than is read in one piece, and no JSON."""


@contextmanager
def soon():
    """Within a tenth of what each of these took where its cost was the square of its length."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < 1.0


@pytest.mark.parametrize("n", [3, 1000])
def test_dimensions_are_counted_before_they_are_multiplied(n):
    body = b'{"inputs":[{"name":"features","datatype":"FP64","data":[1,1,1],"shape":[%b]}]}' % b",".join([b"99"] * n)
    tensor = {"name": "features", "datatype": "FP64", "shape": [99] * n, "contents": {"fp64_contents": [1.0] * 3}}
    sent = message("ModelInferRequest")(model_name="m", inputs=[tensor]).SerializeToString()
    with soon():
        for request in (request_body.read_request("m", body, None, 0.0, 30), read_request(sent)):
            with pytest.raises(InvalidTensorError, match=r"the shape \[99, 99, 99.*\] is not \[rows, 3\]"):
                READER.table(request.inputs)


def test_the_input_that_comes_twice_is_found_in_one_pass():
    inputs = [InputTensor(f"n{i}", "FP64", [1], [0.5]) for i in range(40_000)]
    with soon(), pytest.raises(InvalidTensorError, match='two inputs are named "n39999"'):
        READER.table([*inputs, inputs[-1]])


def test_arrays_that_end_nowhere_are_looked_through_once():
    for prefix in (b'"data":[', b'"data":[}'):
        document = prefix * 200_000
        with soon():
            assert cut_number_arrays(document) == (document, {})


def test_a_string_that_ends_nowhere_is_looked_through_once():
    for body in (b'{"id": NaN, "x": "' + b'\\"' * 20_000, b'{"id": NaN, "x": "' + b'\\"' * 20_000 + b"\\"):
        with soon(), pytest.raises(MalformedRequestError):
            request_body.read_request("m", body, None, 0.0)
    with soon(), pytest.raises(MalformedRequestError, match="value 1 of features"):
        whole_document(b'{"features": [1, "' + b'\\",' * 20_000 + b"\\x", NUMBERS.names)


def test_more_contributions_than_an_answer_has_are_refused_before_they_are_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(computed_values, "MOST_CONTRIBUTIONS", 100)
    path = write_tree_bundle(tmp_path / "b", schema=NUMBERS, n_outputs=4, task="multiclass", link=LinkEntry("softmax"))
    model = rows_of(load(path))
    tensor = InputTensor("features", "FP64", [9, 3], [0.5] * 27)
    request = InferRequest("sample", [tensor], outputs=["shap_values"])
    requested = Outputs(model).requested(request, has_bases=False)
    run = InferenceRun(0.0, request=request, encode=lambda *_: b"", requested=requested, deadline_s=0.0, by_key=False)
    run.count, rows = READER.table([tensor])
    with pytest.raises(BatchTooLargeError, match=r"9 rows have 108 contributions, .*at most 8 rows") as refused:
        computed_values.compute_values(model, run, rows)
    assert refused.value.details == {"max_rows": 8}
    run.count, rows = READER.table([InputTensor("features", "FP64", [8, 3], [0.5] * 24)])
    assert len(computed_values.compute_values(model, run, rows)[1].contributions) == 96


WIDE = TensorReader(Schema(tuple(Feature(f"x{i}") for i in range(1000))), Leniency(), 4000, None, 10)
MANY = 200_000


@pytest.mark.parametrize(
    ("datatype", "code", "numbers"),
    [
        ("INT64", "q", [5, -(1 << 62)]),
        ("UINT64", "Q", [5, (1 << 64) - 1]),
        ("INT32", "i", [-5, (1 << 31) - 1]),
        ("UINT16", "H", [0, 65_535]),
        ("INT8", "b", [-128, 127]),
        ("BOOL", "B", [1, 0]),
        ("FP32", "f", [0.1, -2.5]),
    ],
)
def test_many_numbers_are_converted_without_an_object_for_each(datatype, code, numbers):
    sent = array(code, numbers) * (MANY // 2)
    expected = array("d", sent)
    contents = {message_codec._CONTENTS[datatype]: sent.tolist()}
    for body in (
        {"inputs": [{"contents": contents}]},
        {"inputs": [{}], "raw_input_contents": [sent.tobytes()]},
    ):
        body["inputs"][0] |= {"name": "features", "datatype": datatype, "shape": [200, 1000]}
        encoded = message("ModelInferRequest")(model_name="m", **body).SerializeToString()
        limits = CountLimits(1000, 4_000_000)
        tracemalloc.start()
        try:
            count, rows = WIDE.table(read_request(encoded, 0.0, limits).inputs)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (count, array("d", rows)) == (200, expected)
        # Objects would be 36 bytes for each number: of 8 bytes here are the array, the doubles, and their concatenation.
        assert peak_bytes < 36 * MANY


@pytest.mark.parametrize("datatype", ["INT64", "FP32", "BOOL"])
def test_numbers_in_a_buffer_are_not_copied_before_they_are_converted(datatype):
    width = DATATYPES[datatype].width
    tensor = InputTensor("features", datatype, [200, 1000], memoryview(bytes(width * MANY)))
    tracemalloc.start()
    try:
        WIDE.table([tensor])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8.8 * MANY  # the doubles alone


def test_a_byte_in_a_buffer_that_is_no_boolean_is_named():
    data = bytes(MANY - 1) + b"\x07"
    with pytest.raises(InvalidTensorError, match=r"7 is not true or false"):
        WIDE.table([InputTensor("features", "BOOL", [200, 1000], data)])


@pytest.mark.parametrize(("datatype", "last"), [("INT8", 128), ("UINT8", 256), ("INT16", -32_769), ("BOOL", 2)])
def test_the_last_of_many_numbers_that_is_beyond_its_datatype_is_named(datatype, last):
    tensor = InputTensor("features", datatype, [200, 1000], [1] * (MANY - 1) + [last])
    with pytest.raises(InvalidTensorError, match=f"the number {last} is not"):
        WIDE.table([tensor])


def test_a_message_whose_shape_is_refused_makes_no_objects():
    contents = {"int64_contents": [1 << 40] * MANY}
    tensor = {"name": "features", "datatype": "INT64", "shape": [200, 1000], "contents": contents}
    encoded = message("ModelInferRequest")(model_name="m", inputs=[tensor]).SerializeToString()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidTensorError, match=r"the shape \[200, 1000\] is not"):
            READER.table(read_request(encoded).inputs)
        assert tracemalloc.get_traced_memory()[1] < MANY
    finally:
        tracemalloc.stop()
