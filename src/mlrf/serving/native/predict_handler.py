"""The handlers of `/predict`, `/predict/batch` and `/explain`; they decide what leaves the event loop.

Work that would hold the event loop for more than about a millisecond is returned as `Deferred`; the engines' `margins` and
`contributions_many` release the GIL and may run in any thread. A look-up in a store on another machine is `Awaited`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from mlrf.engines.interface import Row
from mlrf.model.explanation_kinds import ExplanationKind
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.lookup.stored_rows import FoundRow, StoredRows
from mlrf.serving.lookup.validity import with_validity
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.requests import Details, ExplainOption, ParsedBatch, ParsedRequest, PlainBatch, kind_of
from mlrf.serving.native.response_builder import responses_of
from mlrf.serving.runtime.cost_model import CostModel
from mlrf.serving.runtime.results import Awaited, Deferred
from mlrf.serving.runtime.stages import DECODE, ENGINE, FEATURES, REST, recording
from mlrf.serving.runtime.thresholds import LEAF_S, MAX_LOOP_S, STRICT_JSON_BYTES

_A = TypeVar("_A")
_Counts = list[tuple[int, int]]
"""Numbers of instances and explanations not counted in the metrics yet."""


class PredictHandler:
    """Answers prediction requests for one model, and for its stored `rows` if it has any."""

    def __init__(
        self,
        model: RowPredictor,
        decoder: RowDecoder,
        count_instances: Callable[[int], None],
        count_explanations: Callable[[int], None],
        costs: CostModel,
        rows: StoredRows | None = None,
    ) -> None:
        self._model = model
        self._decoder = decoder
        self._count_instances = count_instances
        self._count_explanations = count_explanations
        self._rows = rows
        self._responses = responses_of(model, rows)
        self._costs = costs
        self._is_slow = costs.of(1) > MAX_LOOP_S
        self._write_s = self._responses.explanations.write_s()
        facts = model.bundle.manifest.facts
        self._trees_s = 0.0 if facts is None else facts.trees * LEAF_S

    def one(self, body: bytes) -> bytes | Deferred | Awaited:
        """Answer `POST /predict`."""
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        parsed = self._decoder.fast_row(body)
        if parsed is None:
            if len(body) > STRICT_JSON_BYTES or self._decoder.is_incomplete:
                return self._read_off_loop(self._decoder.strict_row, body, self._one)
            parsed = self._decoder.strict_row(body)
        if recorder is not None:
            recorder.enter(REST)
        row, explain, details = parsed
        if explain is not False or details is not None or self._is_slow or isinstance(row, ByKey):
            return self._one(parsed)
        self._count_instances(1)
        if recorder is not None:
            recorder.enter(ENGINE)
        prediction = self._model.predict_row(row)
        if recorder is not None:
            recorder.enter(REST)
        return self._responses.prediction(prediction) + b"}"

    def explained(self, body: bytes) -> bytes | Deferred | Awaited:
        """Answer `POST /explain`: `/predict` with the explanation always on."""
        return self._read(self._decoder.fast_row, self._decoder.strict_row, body, self._explained)

    def many(self, body: bytes) -> bytes | Deferred | Awaited:
        """Answer `POST /predict/batch`."""
        strict: Callable[[bytes], ParsedBatch] = self._decoder.strict_rows
        return self._read(self._decoder.fast_batch, strict, body, self._many)

    def _plain_many(self, batch: PlainBatch) -> bytes | Deferred:
        """Answer a batch of rows without options of their own."""
        n_rows, n_explained = len(batch.table) // len(self._model.schema.features), 0
        if batch.explain is not False:
            self._model.explainer()
            n_explained = n_rows
        if self._costs.of(n_rows, n_explained) + n_explained * self._write_s > MAX_LOOP_S:
            return Deferred(partial(self._responses.plain_batch, batch), partial(self._count, n_rows, n_explained))
        self._count(n_rows, n_explained)
        return self._responses.plain_batch(batch)

    def _read(
        self,
        fast: Callable[[bytes], _A | None],
        strict: Callable[[bytes], _A],
        body: bytes,
        answer: Callable[[_A, _Counts | None], bytes | Deferred | Awaited],
    ) -> bytes | Deferred | Awaited:
        """Parse and answer a body as `one` does, which is written out because it is the hot path."""
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        parsed = fast(body)
        if parsed is None:
            if len(body) > STRICT_JSON_BYTES or self._decoder.is_incomplete:
                return self._read_off_loop(strict, body, answer)
            parsed = strict(body)
        if recorder is not None:
            recorder.enter(REST)
        return answer(parsed, None)

    def _read_off_loop(
        self,
        read: Callable[[bytes], _A],
        body: bytes,
        answer: Callable[[_A, _Counts | None], bytes | Deferred | Awaited],
    ) -> Deferred:
        """Parse and answer a body in the worker thread; metrics and row look-ups stay on the event loop."""
        counts: _Counts = []

        def run() -> bytes | Awaited:
            recorder = recording()
            if recorder is not None:
                recorder.enter(DECODE)
            parsed = read(body)
            if recorder is not None:
                recorder.enter(REST)
            made = answer(parsed, counts)
            return made.run() if isinstance(made, Deferred) else made

        def after() -> None:
            for n_instances, n_explanations in counts:
                self._count(n_instances, n_explanations)

        return Deferred(run, after)

    def _count(self, n_instances: int, n_explanations: int, counts: _Counts | None = None) -> None:
        if counts is not None:
            counts.append((n_instances, n_explanations))
            return
        self._count_instances(n_instances)
        if n_explanations:
            self._count_explanations(n_explanations)

    def _explained(self, parsed: ParsedRequest, counts: _Counts | None = None) -> bytes | Deferred | Awaited:
        row, explain, details = parsed
        return self._one((row, explain or True, details), counts)

    def _one(self, parsed: ParsedRequest, counts: _Counts | None = None) -> bytes | Deferred | Awaited:
        """Answer one instance; `counts` is given in the worker thread and collects what the event loop counts later."""
        row, explain, details = parsed
        if not isinstance(row, ByKey):
            return self._answer(row, explain, details, None, counts)
        rows = self._stored()
        recorder = recording()
        if recorder is not None:
            recorder.enter(FEATURES)
        if rows.local is not None and counts is None:
            found = rows.read_one(row)
            if recorder is not None:
                recorder.enter(REST)
            return self._answer(found.row, explain, details, found)

        async def look_up() -> bytes | Deferred:
            if (recorder := recording()) is not None:
                recorder.enter(FEATURES)
            (found,) = await rows.fetch([row])
            if recorder is not None:
                recorder.enter(REST)
            return self._answer(found.row, explain, details, found)

        return Awaited(look_up)

    def _many(self, parsed: ParsedBatch, counts: _Counts | None = None) -> bytes | Deferred | Awaited:
        """Answer a batch; `counts` as for `_one`."""
        if isinstance(parsed, PlainBatch):
            return self._plain_many(parsed)
        indices = [] if self._rows is None else [i for i, (row, _, _) in enumerate(parsed) if isinstance(row, ByKey)]
        if not indices:
            return self._answer_many(parsed, {}, counts)
        rows, keys = self._stored(), [row for row, _, _ in parsed if isinstance(row, ByKey)]
        if (recorder := recording()) is not None:
            recorder.enter(FEATURES)
        if rows.local is not None and counts is None:
            found = rows.read(keys, indices)
            if recorder is not None:
                recorder.enter(REST)
            return self._answer_many(parsed, dict(zip(indices, found, strict=True)))

        async def look_up() -> bytes | Deferred:
            if (recorder := recording()) is not None:
                recorder.enter(FEATURES)
            found = await rows.fetch(keys, indices)
            if recorder is not None:
                recorder.enter(REST)
            return self._answer_many(parsed, dict(zip(indices, found, strict=True)))

        return Awaited(look_up)

    def _stored(self) -> StoredRows:
        if self._rows is None:
            raise AssertionError("a key was read for a model without rows")
        return self._rows

    def _answer(
        self,
        row: Row,
        explain: ExplainOption,
        details: Details | None,
        found: FoundRow | None,
        counts: _Counts | None = None,
    ) -> bytes | Deferred:
        """Answer one instance whose row is known."""
        if counts is not None:
            if explain is not False:
                self._responses.explanations.check(explain)
            self._count(1, int(explain is not False), counts)
            return Deferred(lambda: self._responses.off_loop(row, explain, details, found))
        if explain is False:
            if self._is_slow:
                return with_validity(
                    Deferred(lambda: self._responses.off_loop(row, False, details, found), lambda: self._count(1, 0)),
                    found,
                )
            self._count(1, 0)
            return self._responses.one(row, details, found)
        self._responses.explanations.check(explain)
        if (kind := kind_of(explain)) is not None:
            run = partial(self._responses.off_loop, row, explain, details, found)
            timed, cost_s = self._costs.predicted(kind, 1, run)
            return with_validity(Deferred(timed, lambda: self._count(1, 1), cost_s=cost_s), found)
        precomputed = self._stored().contributions(found) if found is not None else None
        if self._write_s + self._costs.of(1, int(precomputed is None)) > MAX_LOOP_S:
            return with_validity(
                Deferred(lambda: self._responses.off_loop(row, explain, details, found), lambda: self._count(1, 1)),
                found,
            )
        self._count(1, 1)
        return self._responses.explained(row, explain, details, found, precomputed)

    def _answer_many(
        self, parsed: list[ParsedRequest], found: Mapping[int, FoundRow], counts: _Counts | None = None
    ) -> bytes | Deferred:
        """Answer instances whose rows are known: given, or found by key, by index in the batch."""
        explained = [i for i, (_, explain, _) in enumerate(parsed) if explain is not False]
        kinds = {i: kind for i in explained if (kind := kind_of(parsed[i][1])) is not None}
        plain = [i for i in explained if i not in kinds]
        if plain:
            self._model.explainer()
        for each in dict.fromkeys(kinds.values()):
            chosen = [i for i, kind in kinds.items() if kind == each]
            self._responses.explanations.check(parsed[chosen[0]][1], len(chosen))
        precomputed = self._precomputed(plain, found)
        counted = partial(self._count, len(parsed), len(explained))
        cost_s = self._costs.of(len(parsed), len(plain) - len(precomputed)) + len(explained) * self._write_s
        detailed = [details for _, _, details in parsed if details is not None]
        cost_s += sum(each.needs_trees for each in detailed) * self._trees_s
        run = partial(self._responses.batch, parsed, found, explained, precomputed)
        if counts is not None:
            counted(counts)
            return Deferred(run)
        if kinds:
            return with_validity(self._deferred_kinds(parsed, kinds, run, counted, cost_s), *found.values())
        if cost_s > MAX_LOOP_S:
            return with_validity(Deferred(run, counted), *found.values())
        counted()
        return run()

    def _deferred_kinds(
        self,
        parsed: Sequence[ParsedRequest],
        kinds: Mapping[int, ExplanationKind],
        run: Callable[[], bytes],
        counted: Callable[[], None],
        others_s: float,
    ) -> Deferred:
        """Return a batch with explanations of other kinds, by index, as work; `others_s` is the time of everything else."""
        cost_s = others_s + sum(self._costs.of_kind(kind, 1) for kind in kinds.values())
        if len(kinds) == len(parsed) and len({*kinds.values()}) == 1:
            run, _ = self._costs.predicted(kinds[0], len(kinds), run)
        return Deferred(run, counted, cost_s=cost_s)

    def _precomputed(self, explained: Sequence[int], found: Mapping[int, FoundRow]) -> dict[int, Sequence[float]]:
        """Return the precomputed contributions, by index in the batch."""
        return {i: c for i in explained if i in found and (c := self._stored().contributions(found[i])) is not None}
