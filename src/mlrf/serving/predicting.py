"""The handlers of `/predict` and `/predict/batch`: bytes to rows, rows to predictions, predictions to bytes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mlrf.model import Model
from mlrf.model.model import Prediction
from mlrf.serving.decode import RowDecoder

_encode = msgspec.json.encode


class Predicting:
    """Answers prediction requests for one model."""

    def __init__(self, model: Model, decoder: RowDecoder, count_instances: Callable[[int], None]) -> None:
        self._model = model
        self._decoder = decoder
        self._count_instances = count_instances
        named = b',"model":%b,"version":%b' % (_encode(model.name), _encode(model.bundle.short_version))
        self._end_one = named + b',"cached":false}'
        self._end_many = named + b"}"
        self._labels = [_encode(c) for c in model.classes] if model.classes is not None else None

    def one(self, body: bytes) -> bytes:
        """Answer `POST /predict`."""
        prediction = self._model.predict_row(self._decoder.row(body))
        self._count_instances(1)
        if self._labels is None:
            return b'{"prediction":%b%b' % (_encode(prediction), self._end_one)
        return b'{"prediction":%b,"label":%b,"probabilities":%b%b' % (
            _encode(prediction),
            _encode(self._model.label(prediction)),
            _encode(self._model.probabilities(prediction)),
            self._end_one,
        )

    def many(self, body: bytes) -> bytes:
        """Answer `POST /predict/batch`."""
        predictions = self._model.predict_rows(self._decoder.rows(body))
        self._count_instances(len(predictions))
        answer = b'{"predictions":%b' % _encode(predictions)
        if self._labels is not None:
            answer += self._classified(predictions)
        return answer + self._end_many

    def _classified(self, predictions: list[Prediction]) -> bytes:
        labels = [self._model.label(p) for p in predictions]
        probabilities = [self._model.probabilities(p) for p in predictions]
        return b',"labels":%b,"probabilities":%b' % (_encode(labels), _encode(probabilities))
