"""Rewrites the native answer to a batch in the shape of another platform."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mlrf.serving.http.router import Framed

CSV = b"text/csv; charset=utf-8"
JSON_LINES = b"application/jsonlines"
_QUOTED = frozenset('",\r\n')


class _Answer(msgspec.Struct, gc=False):
    """The members of a native answer that platforms' answers contain, as JSON text."""

    predictions: Raw
    labels: Raw | UnsetType = UNSET
    probabilities: Raw | UnsetType = UNSET
    explanations: Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Answer).decode
_items_of = msgspec.json.Decoder(list[Raw]).decode
_decode_any = msgspec.json.Decoder().decode
Shape = Callable[[bytes], bytes]
"""Takes the native answer to a batch and returns a platform's answer."""


class Responses:
    """Rewrites the answers of one model; `predicts_labels`: whether `predict` of the object that was built returns labels."""

    def __init__(self, *, predicts_labels: bool) -> None:
        self._predicts_labels = predicts_labels

    def predictions(self, answer: bytes) -> bytes:
        """Return `{"predictions": […]}`: KServe v1, MLflow, Vertex AI, and SageMaker for `{"instances": …}`."""
        return b'{"predictions":%b}' % self._predicted(_decode(answer))

    def explanations(self, answer: bytes) -> bytes:
        """Return `{"predictions": […], "explanations": […]}`."""
        read = _decode(answer)
        explanations = b"[]" if read.explanations is UNSET else read.explanations
        return b'{"predictions":%b,"explanations":%b}' % (self._predicted(read), explanations)

    def array(self, answer: bytes) -> bytes:
        """Return the predictions as one array, as SageMaker's containers answer an array."""
        return bytes(self._predicted(_decode(answer)))

    def csv(self, answer: bytes) -> bytes:
        """Return one line for each row, with several outputs separated by commas."""
        lines = [_csv_line(each) for each in _items_of(self._predicted(_decode(answer)))]
        return Framed(b"\n".join(lines) + b"\n", CSV, b"")

    def json_lines(self, answer: bytes) -> bytes:
        """Return one line for each row: `{"prediction": …}`, with the probabilities of a classifier."""
        read = _decode(answer)
        predictions = _items_of(self._predicted(read))
        if read.probabilities is UNSET:
            lines = [b'{"prediction":%b}\n' % each for each in predictions]
        else:
            pairs = zip(predictions, _items_of(read.probabilities), strict=True)
            lines = [b'{"prediction":%b,"probabilities":%b}\n' % pair for pair in pairs]
        return Framed(b"".join(lines), JSON_LINES, b"")

    def _predicted(self, answer: _Answer) -> Raw:
        labels = answer.labels
        return labels if self._predicts_labels and labels is not UNSET else answer.predictions


def _csv_line(prediction: Raw) -> bytes:
    text = bytes(prediction)
    if text.startswith(b"["):
        return text[1:-1]
    if not text.startswith(b'"'):
        return text
    label = _decode_any(text)
    quoted = '"{}"'.format(label.replace('"', '""')) if _QUOTED & set(label) or not label else label
    return str(quoted).encode()
