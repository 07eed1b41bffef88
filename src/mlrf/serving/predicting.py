"""The handlers of `/predict`, `/predict/batch` and `/explain`: bytes to rows, rows to answers, answers to bytes.

What would hold the event loop for more than about a millisecond is handed back as `Deferred`; the engines' `margins` and
`contributions_many` release the GIL and may run in any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from mlrf.engines.port import Explainer, Row
from mlrf.model import Model
from mlrf.model.model import Prediction
from mlrf.serving.careful import Asked, Explain
from mlrf.serving.decode import RowDecoder
from mlrf.serving.explaining import ExplanationWriter
from mlrf.serving.http.route import Deferred

MAX_LOOP_S = 1e-3
"""How long one request may hold the event loop."""
_CAREFUL_BYTES = 16 << 10
"""A longer body is read in the worker's thread when the fast decoder will not take it."""
_TIMED_RUNS = 3
_A = TypeVar("_A", Asked, list[Asked])

_encode = msgspec.json.encode


class Predicting:
    """Answers prediction requests for one model."""

    def __init__(
        self,
        model: Model,
        decoder: RowDecoder,
        count_instances: Callable[[int], None],
        count_explanations: Callable[[int], None],
    ) -> None:
        self._model = model
        self._decoder = decoder
        self._count_instances = count_instances
        self._count_explanations = count_explanations
        named = b',"model":%b,"version":%b' % (_encode(model.name), _encode(model.bundle.short_version))
        self._end_one = named + b',"cached":false'
        self._end_many = named + b"}"
        self._classifies = model.classes is not None
        example = model.schema.row(model.schema.example())
        self._margin_s = _shortest(lambda: model.engine.margin(example))
        self._explain_s = 0.0
        self._writer: ExplanationWriter | None = None
        if isinstance(model.engine, Explainer):
            explainer = model.engine
            self._writer = ExplanationWriter(model.schema.names, explainer.base, model.classes)
            # Writing counts: of thousands of features, or of many classes, it takes longer than explaining.
            margins = model.engine.margin(example)
            self._explain_s = _shortest(lambda: _encode(self._written(margins, explainer.contributions(example), True)))

    def one(self, body: bytes) -> bytes | Deferred:
        """Answer `POST /predict`."""
        asked = self._decoder.row_at_once(body)
        if asked is None:
            if len(body) > _CAREFUL_BYTES:
                return self._read_aside(self._decoder.row, body, self._one_aside)
            asked = self._decoder.row(body)
        row, explain = asked
        if explain is not False:
            return self._explained_one(row, explain)
        self._count_instances(1)
        return self._prediction_part(self._model.predict_row(row)) + b"}"

    def explained(self, body: bytes) -> bytes | Deferred:
        """Answer `POST /explain`: `/predict` with the explanation always on."""
        asked = self._decoder.row_at_once(body)
        if asked is None:
            if len(body) > _CAREFUL_BYTES:
                return self._read_aside(self._decoder.row, body, self._explained_always)
            asked = self._decoder.row(body)
        return self._explained_one(asked[0], asked[1] or True)

    def many(self, body: bytes) -> bytes | Deferred:
        """Answer `POST /predict/batch`."""
        asked = self._decoder.rows_at_once(body)
        if asked is None:
            if len(body) > _CAREFUL_BYTES:
                return self._read_aside(self._decoder.rows, body, self._many_aside)
            asked = self._decoder.rows(body)
        n_explained = _n_explained(asked)
        if n_explained:
            self._model.explainer()
        self._count_instances(len(asked))
        self._count_explanations(n_explained)
        if len(asked) * self._margin_s + n_explained * self._explain_s > MAX_LOOP_S:
            return Deferred(lambda: self._batch(asked))
        return self._batch(asked)

    def _read_aside(
        self, read: Callable[[bytes], _A], body: bytes, answer: Callable[[_A], tuple[Callable[[], bytes], int, int]]
    ) -> Deferred:
        """Read a body beside the loop, which alone may count: how many rows it held is kept until it does."""
        n_instances = n_explained = 0

        def run() -> bytes:
            nonlocal n_instances, n_explained
            make, n_instances, n_explained = answer(read(body))
            return make()

        def after() -> None:
            self._count_instances(n_instances)
            self._count_explanations(n_explained)

        return Deferred(run, after)

    def _one_aside(self, asked: Asked) -> tuple[Callable[[], bytes], int, int]:
        row, explain = asked
        if explain is not False:
            self._model.explainer()
            return lambda: self._explained_aside(row, explain), 1, 1
        return lambda: self._predicted_aside(row), 1, 0

    def _explained_always(self, asked: Asked) -> tuple[Callable[[], bytes], int, int]:
        return self._one_aside((asked[0], asked[1] or True))

    def _many_aside(self, asked: list[Asked]) -> tuple[Callable[[], bytes], int, int]:
        n_explained = _n_explained(asked)
        if n_explained:
            self._model.explainer()
        return lambda: self._batch(asked), len(asked), n_explained

    def _predicted_aside(self, row: Row) -> bytes:
        margins = self._model.engine.margins(self._model.table([row]))
        return self._prediction_part(self._model.prediction(margins)) + b"}"

    def _explained_one(self, row: Row, explain: Explain) -> bytes | Deferred:
        explainer = self._model.explainer()
        self._count_instances(1)
        self._count_explanations(1)
        if self._explain_s > MAX_LOOP_S:
            return Deferred(lambda: self._explained_aside(row, explain))
        margins = self._model.engine.margin(row)
        return self._explained_part(margins, explainer.contributions(row), explain)

    def _explained_aside(self, row: Row, explain: Explain) -> bytes:
        table = self._model.table([row])
        margins = self._model.engine.margins(table)
        return self._explained_part(margins, self._model.explainer().contributions_many(table), explain)

    def _explained_part(self, margins: Sequence[float], contributions: Sequence[float], explain: Explain) -> bytes:
        answer = self._prediction_part(self._model.prediction(margins))
        return answer + b',"explanation":%b}' % _encode(self._written(margins, contributions, explain))

    def _prediction_part(self, prediction: Prediction) -> bytes:
        """Write the answer to one row, but for its closing brace."""
        if not self._classifies:
            return b'{"prediction":%b%b' % (_encode(prediction), self._end_one)
        return b'{"prediction":%b,"label":%b,"probabilities":%b%b' % (
            _encode(prediction),
            _encode(self._model.label(prediction)),
            _encode(self._model.probabilities(prediction)),
            self._end_one,
        )

    def _batch(self, asked: list[Asked]) -> bytes:
        table = self._model.table([row for row, _ in asked])
        margins = self._model.engine.margins(table)
        predictions = self._model.predictions(margins)
        answer = b'{"predictions":%b' % _encode(predictions)
        if self._classifies:
            labels = [self._model.label(p) for p in predictions]
            probabilities = [self._model.probabilities(p) for p in predictions]
            answer += b',"labels":%b,"probabilities":%b' % (_encode(labels), _encode(probabilities))
        if any(explain is not False for _, explain in asked):
            answer += b',"explanations":[%b]' % b",".join(self._explanations(asked, margins))
        return answer + self._end_many

    def _explanations(self, asked: list[Asked], margins: Sequence[float]) -> list[bytes]:
        """Explain the instances that ask for it, null in the place of the others.

        Encoded one by one: a call for all of them would hold the interpreter, and with it the loop, for as long as it takes.
        """
        wanted = [index for index, (_, explain) in enumerate(asked) if explain is not False]
        contributions = self._model.explainer().contributions_many(self._model.table([asked[i][0] for i in wanted]))
        width, k = len(contributions) // len(wanted), self._model.engine.n_outputs
        written = [b"null"] * len(asked)
        for place, index in enumerate(wanted):
            its_margins = margins[index * k : (index + 1) * k]
            its_contributions = contributions[place * width : (place + 1) * width]
            written[index] = _encode(self._written(its_margins, its_contributions, asked[index][1]))
        return written

    def _written(self, margins: Sequence[float], contributions: Sequence[float], explain: Explain) -> dict[str, Any]:
        if self._writer is None:
            raise AssertionError("an explanation was computed by an engine that has none")
        return self._writer.write(margins, contributions, explain)


def _n_explained(asked: Sequence[Asked]) -> int:
    return sum(explain is not False for _, explain in asked)


def _shortest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs, the first of which warms caches."""
    elapsed = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        work()
        elapsed.append(time.perf_counter() - started)
    return min(elapsed)
