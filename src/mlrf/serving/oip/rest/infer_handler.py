"""The handler of `/v2/models/{name}/infer`: reads from the head how body and response are encoded, and calls the data plane."""

from __future__ import annotations

from copy import copy
from functools import partial
from time import perf_counter

from mlrf.core.errors import MalformedRequestError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.cache.keyed_answer import features_of, with_features
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import JSON, Framed
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.json_messages import request_json, response_json
from mlrf.serving.oip.rest.content_coding import LEAST_BYTES, Code, accepted, decoder, encoded, unencoded
from mlrf.serving.oip.rest.plain_tensors import PlainTensors
from mlrf.serving.oip.rest.request_body import read_request
from mlrf.serving.oip.rest.response_body import read_response, write_response
from mlrf.serving.runtime.results import Continued, Deferred, Handler, Result, followed
from mlrf.serving.runtime.stages import DECODE, recording
from mlrf.serving.runtime.thresholds import COMPRESSED_BYTES, TENSOR_BYTES, TENSOR_JSON_BYTES

_DIGITS = lazy_pattern(rb"[0-9]{1,18}")
_LENGTH_LINE = lazy_pattern(rb"Inference-Header-Content-Length: ([0-9]+)\r\n")


class InferHandler:
    """Answers the infer requests for one model with one kind of head."""

    def __init__(self, plane: DataPlane, name: str) -> None:
        self._plane = plane
        self._name = name
        model = plane.find(name)
        self._max_values = model.most_values
        plain = PlainTensors(model)
        self._read_plain, self._write_plain = plain.read, plain.write
        self._infer_plain = model.infer_table
        self._may_explain = True
        self._header_bytes: int | None = None
        """Number of JSON bytes in the body; None for all."""
        self._coding: bytes | None = None
        """The content coding of responses, None for none."""

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        began_s = perf_counter()
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        name, header_bytes = self._name, self._header_bytes
        if (len(body) if header_bytes is None else header_bytes) > TENSOR_JSON_BYTES:
            decode = partial(read_request, name, body, header_bytes, began_s, self._max_values, self._plane.limits)
            made: Result = self._plane.infer_off_loop(name, decode, write_response, may_explain=self._may_explain)
        elif len(body) <= TENSOR_BYTES and (read := self._read_plain(body, header_bytes)) is not None:
            made = self._infer_plain(read, self._write_plain, began_s)
        else:
            try:
                request = read_request(name, body, header_bytes, began_s, self._max_values, self._plane.limits)
            except Exception:
                self._plane.count_failure(name, began_s)
                raise
            made = self._plane.infer(request, write_response, may_explain=self._may_explain)
        return made if self._coding is None else followed(made, partial(_compressed, self._coding))

    def without_explanations(self) -> Handler:
        """Return the same handler for callers who may not request explanations."""
        other = copy(self)
        other._may_explain = False  # noqa: SLF001  of its own kind
        return other

    def fitted(self, head: Head, max_body_bytes: int) -> Handler:
        """Return the handler of the bodies of a head."""
        other = copy(self)
        other._header_bytes = _header_bytes(head.inference_header_bytes)  # noqa: SLF001  of its own kind
        other._coding = accepted(head.accept_encoding)  # noqa: SLF001
        decode = decoder(head.content_encoding, max_body_bytes)
        return other if decode is None else _CompressedHandler(other, decode)

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """Return an answered request, and its response, as plain JSON."""
        header_bytes = self._header_bytes
        if header_bytes is not None or b"NaN" in body:
            body = request_json(read_request(self._name, body, header_bytes, 0.0))
        lines = answer.lines if isinstance(answer, Framed) else b""
        plain = unencoded(answer) if b"Content-Encoding" in lines else answer
        length = _LENGTH_LINE.match(lines)
        return body, plain if length is None else response_json(read_response(plain, int(length[1])))


class _CompressedHandler:
    """Handles compressed bodies: decompresses them in the worker's thread and passes them to another handler."""

    def __init__(self, handler: InferHandler, decompress: Code) -> None:
        self._handler = handler
        self._decompress = decompress

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        return Continued(Deferred(lambda: self._decompress(body)), self._handler)

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """Return an answered request, and its response, as plain JSON."""
        return self._handler.as_json(self._decompress(body), answer)


def fit(handler: Handler, head: Head, max_body_bytes: int) -> Handler:
    """Return the handler of a head's body: for an infer request from `InferHandler.fitted`, any other unchanged."""
    return handler.fitted(head, max_body_bytes) if isinstance(handler, InferHandler) else handler


def _compressed(coding: bytes, answer: bytes) -> Result:
    """Return a response in a content coding; a short one unchanged."""
    if len(answer) < LEAST_BYTES:
        return answer
    kind, lines = (answer.content_type, answer.lines) if isinstance(answer, Framed) else (JSON, b"")
    lines += b"Content-Encoding: %b\r\nVary: Accept-Encoding\r\n" % coding

    def compressed() -> bytes:
        return with_features(Framed(encoded(answer, coding), kind, lines), features_of(answer))

    return compressed() if len(answer) <= COMPRESSED_BYTES else Deferred(compressed)


def _header_bytes(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not _DIGITS.fullmatch(value):
        raise MalformedRequestError("Inference-Header-Content-Length is not a number of bytes")
    return int(value)
