"""The handler of `/v2/models/{name}/infer`: what a head says of a body and of the answer wanted, and the answer."""

from __future__ import annotations

import re
from copy import copy
from time import perf_counter

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import JSON, Framed
from mlrf.serving.oip.json_messages import told_request, told_response
from mlrf.serving.oip.messages import InferRequest, InferResponse
from mlrf.serving.oip.rest.content_coding import LEAST_BYTES, Code, accepted, decoder, encoded, unencoded
from mlrf.serving.oip.rest.request_body import ParsedRequest, read_body
from mlrf.serving.oip.rest.response_body import PREFIX_BYTES, read_answer, writer
from mlrf.serving.oip.served_model import OipModel
from mlrf.serving.runtime.results import Continued, Deferred, Handler, Result, followed
from mlrf.serving.runtime.stages import DECODE, recording
from mlrf.serving.runtime.thresholds import COMPRESSED_BYTES, TENSOR_JSON_BYTES

_OCTETS = b"application/octet-stream"
_DIGITS = re.compile(rb"[0-9]{1,18}")
_LENGTH_LINE = re.compile(rb"Inference-Header-Content-Length: ([0-9]+)\r\n")


class InferHandler:
    """Answers the infer requests of one version of a model."""

    def __init__(self, model: OipModel) -> None:
        self._model = model
        self._may_explain = True

    def __call__(self, body: bytes) -> Result:
        """Answer a body of JSON alone."""
        return self.answer(body, None, None)

    def without_explanations(self) -> Handler:
        """Return the same for who may not ask for reasons."""
        other = copy(self)
        other._may_explain = False  # noqa: SLF001  of its own kind
        return other

    def fitted(self, head: Head, max_body_bytes: int) -> Handler:
        """Return the handler of the bodies that come with a head."""
        length = _header_bytes(head.inference_header_bytes)
        coding = accepted(head.accept_encoding)
        return _Fitted(self, length, coding, decoder(head.content_encoding, max_body_bytes))

    def told_request(self, body: bytes, header_bytes: int | None) -> bytes:
        """Return a body that was answered as JSON alone."""
        if header_bytes is None and b"NaN" not in body:
            return body
        return told_request(read_body(self._model.name, body, header_bytes, 0.0).request)

    def answer(self, body: bytes, header_bytes: int | None, coding: bytes | None) -> Result:
        """Answer a body, of which so many bytes are JSON (None: all), in a coding (None: none)."""
        began_s = perf_counter()
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        name, inferring = self._model.name, self._model.inferring
        if (len(body) if header_bytes is None else header_bytes) > TENSOR_JSON_BYTES:
            return self._aside(body, header_bytes, coding, began_s)
        try:
            asked = read_body(name, body, header_bytes, began_s, inferring.most_values)
        except Exception:
            inferring.counts.failed(perf_counter() - began_s)
            raise
        made = inferring.infer(asked.request, writer(asked), may_explain=self._may_explain)
        return _framed(made, coding)

    def _aside(self, body: bytes, header_bytes: int | None, coding: bytes | None, began_s: float) -> Result:
        name, inferring = self._model.name, self._model.inferring
        asked: list[ParsedRequest] = []

        def read() -> InferRequest:
            asked.append(read_body(name, body, header_bytes, began_s, inferring.most_values))
            return asked[0].request

        def write(response: InferResponse) -> bytes:
            return writer(asked[0])(response)

        made = inferring.infer_aside(read, write, may_explain=self._may_explain)
        return _framed(made, coding)


class _Fitted:
    """Answers the infer requests that come with one kind of head."""

    def __init__(
        self, infer: InferHandler, header_bytes: int | None, coding: bytes | None, decode: Code | None
    ) -> None:
        self._infer = infer
        self._header_bytes = header_bytes
        self._coding = coding
        self._decode = decode

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        decode = self._decode
        if decode is None:
            return self._infer.answer(body, self._header_bytes, self._coding)
        return Continued(Deferred(lambda: decode(body)), self._answer)

    def told(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """Return a request and its answer as JSON alone."""
        plain = body if self._decode is None else self._decode(body)
        return self._infer.told_request(plain, self._header_bytes), _told_answer(answer)

    def _answer(self, plain: bytes) -> Result:
        return self._infer.answer(plain, self._header_bytes, self._coding)


def fit(handler: Handler, head: Head, max_body_bytes: int) -> Handler:
    """Return the handler of a head's body: an infer request's as `Infer.fitted`, any other's as it comes."""
    return handler.fitted(head, max_body_bytes) if isinstance(handler, InferHandler) else handler


def _framed(made: Result, coding: bytes | None) -> Result:
    """Return the answer in its frame, now or once it is made."""
    if isinstance(made, bytes):
        return _frame(made, coding)
    return followed(made, lambda answer: _frame(answer, coding))


def _frame(made: bytes, coding: bytes | None) -> Result:
    n = int.from_bytes(made[:PREFIX_BYTES], "little")
    content = made[PREFIX_BYTES:]
    lines = b"Inference-Header-Content-Length: %d\r\n" % n if n else b""
    kind = _OCTETS if n else JSON
    if coding is None or len(content) < LEAST_BYTES:
        return Framed(content, kind, lines)
    lines += b"Content-Encoding: %b\r\nVary: Accept-Encoding\r\n" % coding
    if len(content) <= COMPRESSED_BYTES:
        return Framed(encoded(content, coding), kind, lines)
    return Deferred(lambda: Framed(encoded(content, coding), kind, lines))


def _told_answer(answer: bytes) -> bytes:
    """Return an answer of ours as JSON alone."""
    lines = answer.lines if isinstance(answer, Framed) else b""
    plain = unencoded(answer) if b"Content-Encoding" in lines else answer
    length = _LENGTH_LINE.match(lines)
    return plain if length is None else told_response(read_answer(plain, int(length[1])))


def _header_bytes(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not _DIGITS.fullmatch(value):
        raise MalformedRequestError("Inference-Header-Content-Length is not a number of bytes")
    return int(value)
