"""Inference on one version of a model: a request's tensors to rows, rows to margins, margins to the outputs that it names.

What would hold the event loop for more than about a millisecond is handed back as `Deferred`, look-ups in a store that machines
share as `Awaited`. Only the loop counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from time import perf_counter

from mlrf.core.errors import MlrfError, NotPermittedError
from mlrf.engines.port import Explainer
from mlrf.model import Model
from mlrf.serving.api.keyed import KeyedAnswer
from mlrf.serving.api.predicting import MAX_LOOP_S
from mlrf.serving.api.stored_rows import FoundRow, StoredRows
from mlrf.serving.http.route import Awaited, Deferred, Result
from mlrf.serving.inference.counts import InferenceCounts
from mlrf.serving.inference.messages import InferRequest, InferResponse, OutputTensor, Parameter
from mlrf.serving.inference.outputs import Outputs, Wanted
from mlrf.serving.inference.reading import Table, TensorReader

_ASIDE_BYTES = 256 << 10
"""Tensors of more are read in the worker's thread."""
_TIMED_ROWS, _TIMED_RUNS = 16, 3

Write = Callable[[InferResponse], bytes]


@dataclass(slots=True)
class _Run:
    """One request under way: what it asks, and when each part of its work ended (`perf_counter`)."""

    request: InferRequest
    write: Write
    wanted: Sequence[Wanted]
    explains: bool
    began_s: float
    read_s: float = 0.0
    entered_s: float = 0.0
    """When the engine was asked; between `read_s` and this it waited."""
    inferred_s: float = 0.0
    ended_s: float = 0.0
    count: int = 0
    found: Sequence[FoundRow] = field(default_factory=tuple)


class Inferring:
    """Answers inference requests for one version of a model, and for its stored `rows` where there are some."""

    def __init__(
        self,
        model: Model,
        version: str,
        reader: TensorReader,
        counts: InferenceCounts,
        rows: StoredRows | None = None,
    ) -> None:
        self._model = model
        self._version = version
        self._reader = reader
        self.counts = counts
        self._rows = rows
        self._outputs = Outputs(model)
        self._origin: Mapping[str, Parameter] = {"bundle_version": model.bundle.short_version}
        example = model.table([model.schema.row(model.schema.example())] * _TIMED_ROWS)
        self._margin_s = _shortest(lambda: model.engine.margins(example)) / _TIMED_ROWS
        self._explain_s = 0.0
        if isinstance(model.engine, Explainer):
            explainer = model.engine
            self._explain_s = _shortest(lambda: explainer.contributions_many(example)) / _TIMED_ROWS

    def over(self, model: Model, rows: StoredRows | None) -> Inferring:
        """Return the same over other parts, which answer alike."""
        other = copy(self)
        other._model, other._rows, other._outputs = model, rows, Outputs(model)  # noqa: SLF001  of its own kind
        return other

    def infer(self, request: InferRequest, write: Write, *, may_explain: bool) -> Result:
        """Answer a request, as `DataPlane.infer` says."""
        began_s = request.began_s or perf_counter()
        if sum(len(each.data) for each in request.inputs) > _ASIDE_BYTES:
            return self.infer_aside(lambda: request, write, may_explain=may_explain)
        try:
            run = self._begin(request, write, began_s, may_explain)
            if self._reader.is_by_key(request.inputs):
                return self._look_up(run)
            table = self._reader.table(request.inputs)
        except MlrfError:
            self.counts.part("fail", perf_counter() - began_s)
            raise
        return self._answer(run, table)

    def infer_aside(self, read: Callable[[], InferRequest], write: Write, *, may_explain: bool) -> Deferred:
        """Answer a request that takes long to read: all of it is done beside the loop, which looks up keys and counts."""
        runs: list[_Run] = []
        began_s = perf_counter()

        def work() -> bytes | Awaited:
            run = self._begin(read(), write, began_s, may_explain)
            runs.append(run)
            if self._reader.is_by_key(run.request.inputs):
                return Awaited(lambda: self._look_up_later(run, runs))
            return self._make(run, self._reader.table(run.request.inputs))

        def after() -> None:
            if runs:
                self._count(runs[0])
            else:
                self.counts.part("fail", perf_counter() - began_s)

        return Deferred(work, after)

    def _begin(self, request: InferRequest, write: Write, began_s: float, may_explain: bool) -> _Run:
        wanted = self._outputs.wanted(request)
        explains = any(each.explains for each in wanted)
        if explains:
            if not may_explain:
                raise NotPermittedError(
                    "the key lacks the scope 'explain', which the outputs shap_values and shap_base need",
                    scope="explain",
                )
            self._model.explainer()
        return _Run(request, write, wanted, explains, began_s)

    def _answer(self, run: _Run, table: Table) -> bytes | Deferred:
        run.read_s = perf_counter()
        cost_s = self._margin_s + self._explain_s if run.explains else self._margin_s
        if table.count * cost_s > MAX_LOOP_S:
            transaction, fresh_until_s = _owed(run.found)
            return Deferred(
                lambda: self._make(run, table),
                lambda: self._count(run),
                transaction=transaction,
                fresh_until_s=fresh_until_s,
            )
        try:
            return self._make(run, table)
        finally:
            self._count(run)

    def _make(self, run: _Run, table: Table) -> bytes:
        """Make the answer, in any thread."""
        run.count = table.count
        run.entered_s = perf_counter()
        run.read_s = run.read_s or run.entered_s
        model, engine = self._model, self._model.engine
        margins = engine.margins(table.rows)
        contributions = model.explainer().contributions_many(table.rows) if run.explains else None
        run.inferred_s = perf_counter()
        tensors = self._outputs.make(run.wanted, margins, contributions, table.count)
        response = self._response(run, tensors)
        answer = run.write(response)
        run.ended_s = perf_counter()
        if not run.found:
            return answer
        transaction, fresh_until_s = _owed(run.found)
        shared = self._rows is None or self._rows.local is None
        # A store that machines share says nothing of changes: an answer from it must not be given again.
        return KeyedAnswer(answer, transaction or 0, -math.inf if shared else fresh_until_s)

    def _response(self, run: _Run, tensors: Sequence[OutputTensor]) -> InferResponse:
        request = run.request
        parameters = self._origin
        if run.found:
            parameters = {**parameters, **_told_of(run.found)}
        return InferResponse(self._model.name, self._version, request.id, parameters, tensors)

    def _look_up(self, run: _Run) -> Result:
        rows = self._stored()
        keys = self._reader.keys(run.request.inputs)
        if rows.local is not None:
            return self._answer_found(run, rows.read(keys, range(len(keys))))

        async def look_up() -> Result:
            try:
                found = await rows.fetch(keys, range(len(keys)))
            except BaseException:
                self.counts.part("fail", perf_counter() - run.began_s)
                raise
            return self._answer_found(run, found)

        return Awaited(look_up)

    async def _look_up_later(self, run: _Run, runs: list[_Run]) -> Result:
        """Look up what was read beside the loop, on the loop, which has counted nothing of it yet."""
        runs.clear()
        try:
            return self._look_up(run)
        except MlrfError:
            self.counts.part("fail", perf_counter() - run.began_s)
            raise

    def _answer_found(self, run: _Run, found: Sequence[FoundRow]) -> bytes | Deferred:
        run.found = found
        rows = self._model.table([each.row for each in found])
        return self._answer(run, Table(rows, len(found)))

    def _stored(self) -> StoredRows:
        if self._rows is None:
            raise AssertionError("a key was read for a model without rows")
        return self._rows

    def _count(self, run: _Run) -> None:
        counts = self.counts
        if not run.ended_s:
            counts.part("fail", perf_counter() - run.began_s)
            return
        counts.answered(run.ended_s - run.began_s)
        counts.part("compute_input", run.read_s - run.began_s)
        counts.part("queue", run.entered_s - run.read_s)
        counts.part("compute_infer", run.inferred_s - run.entered_s)
        counts.part("compute_output", run.ended_s - run.inferred_s)
        counts.rows(run.count)
        counts.instances(run.count)
        if run.explains:
            counts.explanations(run.count)


def _owed(found: Sequence[FoundRow]) -> tuple[int | None, float]:
    """Return what an answer from these rows owes to their store: a transaction (None: nothing), and until when it is fresh."""
    if not found:
        return None, math.inf
    return min(each.stored.transaction for each in found), min(each.fresh_until_s for each in found)


def _told_of(found: Sequence[FoundRow]) -> dict[str, Parameter]:
    """Say of looked-up rows when they were true: of several, when the oldest was."""
    told: dict[str, Parameter] = {}
    if all(each.stored.as_of_us is not None for each in found):
        oldest = min(found, key=lambda each: each.stored.as_of_us or 0)
        told["features_as_of"] = oldest.as_of.decode().strip('"')
    if any(each.is_stale for each in found):
        told["features_stale"] = True
    return told


def _shortest(work: Callable[[], object]) -> float:
    elapsed = []
    for _ in range(_TIMED_RUNS):
        started = perf_counter()
        work()
        elapsed.append(perf_counter() - started)
    return min(elapsed)
