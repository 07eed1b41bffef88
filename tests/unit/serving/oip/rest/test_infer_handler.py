"""An infer request that the kernel reads has the same answer, error and counts as one that it does not read."""

from __future__ import annotations

import json
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from bundles import write_tree_bundle
from examples import examples
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import MlrfError
from mlrf.core.manifest import LinkEntry
from mlrf.serving.cache.answer_cache import AnswerCache, CacheCounts
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.http.head import parse_head
from mlrf.serving.http.router import Framed
from mlrf.serving.models.loaded_model import LoadedModel
from mlrf.serving.oip import infer
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.rest import infer_handler
from mlrf.serving.oip.rest.infer_handler import InferHandler
from mlrf.serving.routes import layout
from mlrf.serving.runtime.results import Continued, Deferred
from mlrf.serving.telemetry.metrics import INFERENCE_PARTS
from mlrf.serving.telemetry.worker_meter import WorkerMeter

ROW = [9.5, 3, 1, 1, 1, 7, 0.25]
F = len(ROW)
MAX_ROWS = 3
KINDS = {
    "number": {},
    "label": {"task": "binary", "link": LinkEntry("sigmoid"), "classes": ["no", "yes"], "predict_returns": "label"},
    "three": {"task": "multiclass", "link": LinkEntry("softmax"), "classes": [0, 1, "other"], "n_outputs": 3},
}


class Served:
    """A model in a worker of its own."""

    def __init__(self, path, *, is_cached):
        self._layout = layout(["sample"])
        self._words = memoryview(bytearray(8 * self._layout.n_words)).cast("Q")
        meter = WorkerMeter(self._layout, self._words)
        options = ServeSettings((path,), max_infer_rows=MAX_ROWS)
        self._model = LoadedModel(
            read_bundle(path), options, meter, AnswerCache(1 << 20, None, CacheCounts()) if is_cached else None
        )
        self.handler = InferHandler(DataPlane([self._model.make_inference()], lambda: None, "1"), "sample")

    def fitted(self, header_bytes):
        """The handler of requests with so many bytes of JSON; None for all."""
        length = b"" if header_bytes is None else b"Inference-Header-Content-Length: %d\r\n" % header_bytes
        head = parse_head(b"POST /v2/models/sample/infer HTTP/1.1\r\nHost: x\r\n%b\r\n" % length, 10)
        return self.handler.fitted(head, 1 << 20)

    def answer(self, body, header_bytes):
        """The answer and its header lines, or the error; and what was counted."""
        before = self.counts()
        try:
            made = self.fitted(header_bytes)(body)
            if isinstance(made, Continued):
                content = made.work.run()
                made.work.after()
                made = made.then(content)
            elif isinstance(made, Deferred):
                content = made.run()
                made.after()
                made = content
            answer = bytes(made), made.lines if isinstance(made, Framed) else b""
        except MlrfError as error:
            answer = type(error), str(error), error.details
        return answer, [n - m for n, m in zip(self.counts(), before, strict=True)]

    def counts(self):
        parts = [("mlrf_inference_parts_total", "sample", part) for part in INFERENCE_PARTS]
        names = [*parts, ("mlrf_inference_rows_total", "sample"), ("mlrf_instances_total", "sample")]
        return [self._words[self._layout.word(*each)] for each in names]


@pytest.fixture(scope="module", params=[(kind, is_cached) for kind in KINDS for is_cached in (False, True)], ids=str)
def both(request, tmp_path_factory):
    """Two workers with the same model; in the second one the kernel reads no request."""
    kind, is_cached = request.param
    path = write_tree_bundle(tmp_path_factory.mktemp("both") / "b", **KINDS[kind])
    first, second = Served(path, is_cached=is_cached), Served(path, is_cached=is_cached)
    second.handler._read_plain = lambda *_: None
    return first, second


numbers = st.one_of(
    st.sampled_from(ROW), st.sampled_from([None, -0.0, 1e-320, 1e39, 1e308, 2.5, 8, -1, True, "1"]), st.integers(-3, 3)
)
rows_of_numbers = st.lists(
    st.just(ROW) | st.lists(numbers, min_size=F, max_size=F) | st.lists(numbers, min_size=6, max_size=8),
    min_size=1,
    max_size=4,
)
outputs = st.sampled_from(
    ["prediction", "probabilities", "label", "predict", "output-0", "shap_values", "leaves", "other"]
)
flags = st.sampled_from([True, False, None, 1])


@st.composite
def requests(draw):
    """The bytes of a request, and the length of its JSON, None for all."""
    rows = draw(rows_of_numbers)
    datatype = draw(st.sampled_from(["FP64", "FP64", "FP32", "INT64"]))
    name = draw(st.sampled_from(["features", "input-0", "predict", "input__0", "other"]))
    tensor = {"name": name, "shape": [len(rows), draw(st.just(F) | st.just(len(rows[0])))], "datatype": datatype}
    is_binary = draw(st.booleans())
    blob = b""
    if is_binary:
        values = [float("nan") if x is None else float(x) for row in rows for x in row]
        try:
            code = {"FP64": "d", "FP32": "f"}[datatype]
            blob = struct.pack(f"<{len(values)}{code}", *values)
        except (KeyError, OverflowError):
            blob = bytes(8 * len(values))
        tensor["parameters"] = {"binary_data_size": len(blob) + draw(st.sampled_from([0] * 9 + [8, -8]))}
        blob += draw(st.sampled_from([b""] * 9 + [b"12345678"]))
    else:
        tensor["data"] = rows if draw(st.booleans()) else [x for row in rows for x in row]
    members = [("inputs", [tensor])]
    if draw(st.booleans()):
        members.append(("id", draw(st.sampled_from(["", "a b", "é", 'q"', 5]))))
    if draw(st.booleans()):
        shown = {"name": draw(outputs)}
        if draw(st.booleans()):
            shown["parameters"] = {"binary_data": draw(flags)}
        members.append(("outputs", [shown] * draw(st.sampled_from([1, 1, 1, 0, 2]))))
    if draw(st.booleans()):
        parameter = draw(st.sampled_from(["binary_data_output"] * 4 + ["timeout", "other"]))
        members.append(("parameters", {parameter: draw(flags)}))
    order = draw(st.permutations(members))
    text = json.dumps(dict(order), indent=draw(st.sampled_from([None, 1]))).encode()
    if draw(st.integers(0, 4)) == 0:
        damaged = bytearray(text)
        for _ in range(draw(st.integers(1, 2))):
            damaged[draw(st.integers(0, len(damaged) - 1))] = draw(
                st.sampled_from(b'0123456789.eE+-,[]{}":ntf \\\x00\xff')
            )
        text = bytes(damaged)
    header_bytes = len(text) if is_binary else draw(st.sampled_from([None, None, None, len(text)]))
    return text + blob, header_bytes


@settings(max_examples=examples(300))
@given(requests())
def test_a_request_has_one_answer(both, request):
    read, parsed = (each.answer(*request) for each in both)
    assert read == parsed


TENSOR = {"name": "features", "shape": [1, F], "datatype": "FP64"}
BYTES = struct.pack(f"<{F}d", *ROW)
BINARY = {"inputs": [TENSOR | {"parameters": {"binary_data_size": len(BYTES)}}]}


def binary(members):
    """A binary request with these members, and the length of its JSON."""
    text = json.dumps(BINARY | members, separators=(",", ":")).encode()
    return text + BYTES, len(text)


@pytest.mark.parametrize(
    ("body", "header_bytes"),
    [
        (json.dumps({"id": "7", "inputs": [TENSOR | {"data": ROW}]}).encode(), None),
        (json.dumps({"inputs": [TENSOR | {"data": [ROW]}], "outputs": [{"name": "prediction"}]}).encode(), None),
        binary({}),
        binary({"parameters": {"binary_data_output": True}}),
        binary({"id": "7", "outputs": [{"name": "prediction", "parameters": {"binary_data": True}}]}),
        binary({"outputs": [{"name": "prediction", "parameters": {"binary_data": False}}]}),
    ],
)
def test_requests_of_common_clients_are_read_by_the_kernel(both, body, header_bytes):
    assert both[0].handler._read_plain(body, header_bytes) is not None
    assert both[0].answer(body, header_bytes) == both[1].answer(body, header_bytes)


def test_long_tensors_are_left_to_the_worker_thread(both, monkeypatch):
    body, header_bytes = binary({})
    monkeypatch.setattr(infer_handler, "TENSOR_BYTES", len(body) - 1)
    monkeypatch.setattr(infer, "TENSOR_BYTES", 0)
    assert isinstance(both[0].fitted(header_bytes)(body), Deferred)
