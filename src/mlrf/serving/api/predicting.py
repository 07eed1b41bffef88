"""The handlers of `/predict`, `/predict/batch` and `/explain`: bytes to rows, rows to answers, answers to bytes.

What would hold the event loop for more than about a millisecond is handed back as `Deferred`; the engines' `margins` and
`contributions_many` release the GIL and may run in any thread. What a store on another machine must be asked for is `Awaited`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import msgspec

from mlrf.engines.port import Explainer, Row
from mlrf.model import Model
from mlrf.model.model import Prediction
from mlrf.serving.api.asked import Asked, ByKey, Explain
from mlrf.serving.api.decode import RowDecoder
from mlrf.serving.api.explaining import ExplanationWriter, Source
from mlrf.serving.api.keyed import KeyedAnswer
from mlrf.serving.api.stored_rows import FoundRow, StoredRows
from mlrf.serving.http.route import Awaited, Deferred

MAX_LOOP_S = 1e-3
"""How long one request may hold the event loop."""
_CAREFUL_BYTES = 16 << 10
"""A longer body is read in the worker's thread when the fast decoder will not take it."""
_TIMED_RUNS = 3
_A = TypeVar("_A", Asked, list[Asked])
_Tally = list[tuple[int, int]]
"""Numbers of instances and explanations that are still to be counted."""

_encode = msgspec.json.encode


class Predicting:
    """Answers prediction requests for one model, and for its stored `rows` where there are some."""

    def __init__(
        self,
        model: Model,
        decoder: RowDecoder,
        count_instances: Callable[[int], None],
        count_explanations: Callable[[int], None],
        rows: StoredRows | None = None,
    ) -> None:
        self._model = model
        self._decoder = decoder
        self._count_instances = count_instances
        self._count_explanations = count_explanations
        self._rows = rows
        # A store that machines share says nothing of changes: an answer from it must not be given again.
        self._never_again = rows is not None and rows.local is None
        named = b',"model":%b,"version":%b' % (_encode(model.name), _encode(model.bundle.short_version))
        self._origin = named + b',"cached":false'
        """What follows a prediction; what callers may have named comes after it, for the cache marks the first `cached`."""
        self._classifies = model.classes is not None
        example = model.schema.row(model.schema.example())
        self._margin_s = _shortest(lambda: model.engine.margin(example))
        self._is_slow = self._margin_s > MAX_LOOP_S
        self._explain_s = self._write_s = 0.0
        self._writer: ExplanationWriter | None = None
        if isinstance(model.engine, Explainer):
            explainer = model.engine
            self._writer = ExplanationWriter(model.schema.names, explainer.base, model.classes)
            # Writing counts: of thousands of features, or of many classes, it takes longer than explaining.
            margins, contributions = model.engine.margin(example), explainer.contributions(example)
            self._write_s = _shortest(lambda: self._explanation(margins, contributions, True, "live"))
            self._explain_s = self._write_s + _shortest(lambda: explainer.contributions(example))

    def over(self, model: Model, decoder: RowDecoder, rows: StoredRows | None) -> Predicting:
        """Return the same handlers over other parts, which answer alike."""
        other = copy(self)
        other._model, other._decoder, other._rows = model, decoder, rows  # noqa: SLF001  of its own kind
        return other

    def one(self, body: bytes) -> bytes | Deferred | Awaited:
        """Answer `POST /predict`."""
        asked = self._decoder.row_at_once(body)
        if asked is None:
            if len(body) > _CAREFUL_BYTES:
                return self._read_aside(self._decoder.row, body, self._one)
            asked = self._decoder.row(body)
        row, explain, returned = asked
        if explain is not False or returned or self._is_slow or isinstance(row, ByKey):
            return self._one(asked)
        self._count_instances(1)
        return self._prediction_part(self._model.predict_row(row)) + b"}"

    def explained(self, body: bytes) -> bytes | Deferred | Awaited:
        """Answer `POST /explain`: `/predict` with the explanation always on."""
        asked = self._decoder.row_at_once(body)
        if asked is None:
            if len(body) > _CAREFUL_BYTES:
                return self._read_aside(self._decoder.row, body, self._explained)
            asked = self._decoder.row(body)
        return self._explained(asked)

    def many(self, body: bytes) -> bytes | Deferred | Awaited:
        """Answer `POST /predict/batch`."""
        asked = self._decoder.rows_at_once(body)
        if asked is None:
            if len(body) > _CAREFUL_BYTES:
                return self._read_aside(self._decoder.rows, body, self._many)
            asked = self._decoder.rows(body)
        return self._many(asked)

    def _read_aside(
        self, read: Callable[[bytes], _A], body: bytes, answer: Callable[[_A, _Tally], bytes | Deferred | Awaited]
    ) -> Deferred:
        """Read and answer a body beside the loop, which alone may count, and alone looks rows up."""
        tally: _Tally = []

        def run() -> bytes | Awaited:
            made = answer(read(body), tally)
            return made.run() if isinstance(made, Deferred) else made

        def after() -> None:
            for n_instances, n_explanations in tally:
                self._count(n_instances, n_explanations)

        return Deferred(run, after)

    def _count(self, n_instances: int, n_explanations: int, tally: _Tally | None = None) -> None:
        if tally is not None:
            tally.append((n_instances, n_explanations))
            return
        self._count_instances(n_instances)
        if n_explanations:
            self._count_explanations(n_explanations)

    def _explained(self, asked: Asked, tally: _Tally | None = None) -> bytes | Deferred | Awaited:
        row, explain, returned = asked
        return self._one((row, explain or True, returned), tally)

    def _one(self, asked: Asked, tally: _Tally | None = None) -> bytes | Deferred | Awaited:
        """Answer one instance; with a `tally`, beside the loop, which will count what is written there."""
        row, explain, returned = asked
        if not isinstance(row, ByKey):
            return self._answer(row, explain, returned, None, tally)
        rows = self._stored()
        if rows.local is not None and tally is None:
            found = rows.read_one(row)
            return self._answer(found.row, explain, returned, found)

        async def look_up() -> bytes | Deferred:
            (found,) = await rows.fetch([row])
            return self._answer(found.row, explain, returned, found)

        return Awaited(look_up)

    def _many(self, asked: list[Asked], tally: _Tally | None = None) -> bytes | Deferred | Awaited:
        """Answer a batch; `tally` as for `_one`."""
        places = [] if self._rows is None else [i for i, (row, _, _) in enumerate(asked) if isinstance(row, ByKey)]
        if not places:
            return self._answer_many(asked, {}, tally)
        rows, wanted = self._stored(), [row for row, _, _ in asked if isinstance(row, ByKey)]
        if rows.local is not None and tally is None:
            return self._answer_many(asked, dict(zip(places, rows.read(wanted, places), strict=True)))

        async def look_up() -> bytes | Deferred:
            return self._answer_many(asked, dict(zip(places, await rows.fetch(wanted, places), strict=True)))

        return Awaited(look_up)

    def _stored(self) -> StoredRows:
        if self._rows is None:
            raise AssertionError("a key was read for a model without rows")
        return self._rows

    def _answer(
        self, row: Row, explain: Explain, returned: bool, found: FoundRow | None, tally: _Tally | None = None
    ) -> bytes | Deferred:
        """Answer one instance whose row is known."""
        model = self._model
        if tally is not None:
            if explain is not False:
                model.explainer()
            self._count(1, int(explain is not False), tally)
            return Deferred(lambda: self._answer_aside(row, explain, returned, found))
        if explain is False:
            if self._is_slow:
                return _owing(
                    Deferred(lambda: self._answer_aside(row, False, returned, found), lambda: self._count(1, 0)), found
                )
            self._count(1, 0)
            return self._whole(self._prediction_part(model.predict_row(row)), row, returned, found, b"}")
        explainer = model.explainer()
        contributions = self._stored().contributions(found) if found is not None else None
        if contributions is None and self._explain_s > MAX_LOOP_S:
            return _owing(
                Deferred(lambda: self._answer_aside(row, explain, returned, found), lambda: self._count(1, 1)), found
            )
        self._count(1, 1)
        if contributions is not None:
            margins = model.engine.margin(row)
            return self._explained_whole(margins, contributions, row, explain, returned, found, "precomputed")
        margins = model.engine.margin(row)
        return self._explained_whole(margins, explainer.contributions(row), row, explain, returned, found, "live")

    def _answer_aside(self, row: Row, explain: Explain, returned: bool, found: FoundRow | None) -> bytes:
        """Answer one instance in any thread: as a table, for one row is for one thread at a time."""
        table = self._model.table([row])
        margins = self._model.engine.margins(table)
        if explain is False:
            return self._whole(self._prediction_part(self._model.prediction(margins)), row, returned, found, b"}")
        contributions = self._model.explainer().contributions_many(table)
        return self._explained_whole(margins, contributions, row, explain, returned, found, "live")

    def _explained_whole(
        self,
        margins: Sequence[float],
        contributions: Sequence[float],
        row: Row,
        explain: Explain,
        returned: bool,
        found: FoundRow | None,
        source: Source,
    ) -> bytes:
        answer = self._prediction_part(self._model.prediction(margins))
        explanation = self._explanation(margins, contributions, explain, source)
        return self._whole(answer, row, returned, found, b',"explanation":%b}' % explanation)

    def _whole(self, answer: bytes, row: Row, returned: bool, found: FoundRow | None, end: bytes) -> bytes:
        """Put an answer together: the prediction, what is to be said of the row, and what comes last."""
        features = b',"features":%b' % self._instance(row) if returned else b""
        if found is None:
            return answer + features + end
        stale = b',"features_stale":true' if found.is_stale else b""
        whole = b'%b,"features_as_of":%b%b%b%b' % (answer, found.as_of, stale, features, end)
        return KeyedAnswer(whole, found.stored.transaction, -math.inf if self._never_again else found.fresh_until_s)

    def _instance(self, row: Row) -> bytes:
        return _encode(self._model.schema.instance(self._model.table([row])))

    def _prediction_part(self, prediction: Prediction) -> bytes:
        """Write the answer to one row, but for its closing brace."""
        if not self._classifies:
            return b'{"prediction":%b%b' % (_encode(prediction), self._origin)
        return b'{"prediction":%b,"label":%b,"probabilities":%b%b' % (
            _encode(prediction),
            _encode(self._model.label(prediction)),
            _encode(self._model.probabilities(prediction)),
            self._origin,
        )

    def _answer_many(
        self, asked: list[Asked], found: Mapping[int, FoundRow], tally: _Tally | None = None
    ) -> bytes | Deferred:
        """Answer instances whose rows are known: given, or found by key at these places of the batch."""
        explained = [i for i, (_, explain, _) in enumerate(asked) if explain is not False]
        if explained:
            self._model.explainer()
        known = self._known(explained, found)
        counted = partial(self._count, len(asked), len(explained))
        live_s = (len(explained) - len(known)) * self._explain_s + len(known) * self._write_s
        if tally is not None:
            counted(tally)
            return Deferred(lambda: self._batch(asked, found, explained, known))
        if len(asked) * self._margin_s + live_s > MAX_LOOP_S:
            return _owing(Deferred(lambda: self._batch(asked, found, explained, known), counted), *found.values())
        counted()
        return self._batch(asked, found, explained, known)

    def _known(self, explained: Sequence[int], found: Mapping[int, FoundRow]) -> dict[int, Sequence[float]]:
        """Return the contributions that were computed beforehand, by place in the batch."""
        known = {}
        for index in explained:
            if index in found and (contributions := self._stored().contributions(found[index])) is not None:
                known[index] = contributions
        return known

    def _batch(
        self,
        asked: list[Asked],
        found: Mapping[int, FoundRow],
        explained: Sequence[int],
        known: Mapping[int, Sequence[float]],
    ) -> bytes:
        rows: list[Any] = [row for row, _, _ in asked]
        for index, each in found.items():
            rows[index] = each.row
        margins = self._model.engine.margins(self._model.table(rows))
        predictions = self._model.predictions(margins)
        answer = b'{"predictions":%b' % _encode(predictions)
        if self._classifies:
            labels = [self._model.label(p) for p in predictions]
            probabilities = [self._model.probabilities(p) for p in predictions]
            answer += b',"labels":%b,"probabilities":%b' % (_encode(labels), _encode(probabilities))
        answer += self._origin
        if found:
            as_of = [found[i].as_of if i in found else b"null" for i in range(len(asked))]
            answer += b',"features_as_of":[%b]' % b",".join(as_of)
            if any(each.is_stale for each in found.values()):
                stale = [i in found and found[i].is_stale for i in range(len(asked))]
                answer += b',"features_stale":%b' % _encode(stale)
        if any(returned for _, _, returned in asked):
            instances = (self._instance(row) if each[2] else b"null" for row, each in zip(rows, asked, strict=True))
            answer += b',"features":[%b]' % b",".join(instances)
        if explained:
            written = self._explanations(asked, rows, margins, explained, known)
            answer += b',"explanations":[%b]' % b",".join(written)
        answer += b"}"
        if not found:
            return answer
        fresh_until_s = -math.inf if self._never_again else min(each.fresh_until_s for each in found.values())
        return KeyedAnswer(answer, min(each.stored.transaction for each in found.values()), fresh_until_s)

    def _explanations(
        self,
        asked: list[Asked],
        rows: Sequence[Row],
        margins: Sequence[float],
        explained: Sequence[int],
        known: Mapping[int, Sequence[float]],
    ) -> list[bytes]:
        """Explain the instances that ask for it, null in the place of the others.

        Encoded one by one: a call for all of them would hold the interpreter, and with it the loop, for as long as it takes.
        """
        k = self._model.engine.n_outputs
        written = [b"null"] * len(asked)
        for index, contributions in known.items():
            its_margins = margins[index * k : (index + 1) * k]
            written[index] = self._explanation(its_margins, contributions, asked[index][1], "precomputed")
        wanted = [index for index in explained if index not in known]
        if not wanted:
            return written
        contributions = self._model.explainer().contributions_many(self._model.table([rows[i] for i in wanted]))
        width = len(contributions) // len(wanted)
        for place, index in enumerate(wanted):
            its_margins = margins[index * k : (index + 1) * k]
            its_contributions = contributions[place * width : (place + 1) * width]
            written[index] = self._explanation(its_margins, its_contributions, asked[index][1], "live")
        return written

    def _explanation(
        self, margins: Sequence[float], contributions: Sequence[float], explain: Explain, source: Source
    ) -> bytes:
        if self._writer is None:
            raise AssertionError("an explanation was computed by an engine that has none")
        return _encode(self._writer.write(margins, contributions, explain, source))


def _owing(work: Deferred, *found: FoundRow | None) -> Deferred:
    """Return work that says what it owes to the stored rows it is made from, for whoever would wait for it too."""
    rows = [each for each in found if each is not None]
    if not rows:
        return work
    transaction, fresh_until_s = min(r.stored.transaction for r in rows), min(r.fresh_until_s for r in rows)
    return replace(work, transaction=transaction, fresh_until_s=fresh_until_s)


def _shortest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs, the first of which warms caches."""
    elapsed = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        work()
        elapsed.append(time.perf_counter() - started)
    return min(elapsed)
