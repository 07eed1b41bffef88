"""Inference on one version of a model: a request's tensors to rows, rows to margins, margins to the outputs that it names.

What would hold the event loop for more than about a millisecond is handed back as `Deferred`, look-ups in a store that machines
share as `Awaited`. Only the loop counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter

import msgspec

from mlrf.core.errors import NotPermittedError
from mlrf.engines.interface import Rows
from mlrf.model import Model
from mlrf.serving.cache.answer_cache import MAX_BODY_BYTES, CachePartition
from mlrf.serving.cache.keyed_answer import KeyedAnswer
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.lookup.stored_rows import FoundRow, StoredRows
from mlrf.serving.oip.datatypes import FP64
from mlrf.serving.oip.messages import InferRequest, InferResponse, Parameter
from mlrf.serving.oip.outputs import Outputs, Wanted
from mlrf.serving.oip.row_lookup import Known, are_all_known, hear, owed, reasons, tell
from mlrf.serving.oip.statistics import InferenceCounts
from mlrf.serving.oip.tensor_reader import Table, TensorReader
from mlrf.serving.runtime.cost_model import CostModel
from mlrf.serving.runtime.deadlines import TIMEOUT, parameter_timeout_s, too_late
from mlrf.serving.runtime.results import Awaited, Deferred, Result, followed, limited
from mlrf.serving.runtime.stages import DECODE, ENGINE, EXPLAIN, FEATURES, REST, recording
from mlrf.serving.runtime.thresholds import MAX_LOOP_S, TENSOR_BYTES, TENSOR_COUNT

Write = Callable[[InferResponse], bytes]


class _Run(msgspec.Struct, gc=False):
    """One request under way: what it asks, and when each part of its work ended (`perf_counter`; 0: not yet, or never)."""

    request: InferRequest
    write: Write
    wanted: Wanted
    began_s: float
    deadline_s: float = 0.0
    """Until when its client waits; 0 for as long as it takes."""
    by_key: bool = False
    count: int = 0
    """Its rows."""
    read_s: float = 0.0
    missed_s: float = 0.0
    """When the shelf was found to have no answer."""
    ready_s: float = 0.0
    """When its rows were there, looked up where it is by key."""
    entered_s: float = 0.0
    """When the engine was asked."""
    inferred_s: float = 0.0
    made_s: float = 0.0
    found: Sequence[FoundRow] = ()
    known: Known = ()
    """Reasons of the rows found that were computed beforehand, where reasons are wanted."""


_Make = Callable[[_Run, Rows], bytes]


class ModelInference:
    """Answers inference requests for one version of a model, and for its stored `rows` where there are some.

    What a `shelf` keeps are the tensors of rows, whichever transport, datatype and id they were asked by: reading a request and
    writing its response takes a third of the time of a small one (ADR 8), and clients send an id of their own with each.
    """

    def __init__(
        self,
        model: Model,
        version: str,
        reader: TensorReader,
        counts: InferenceCounts,
        costs: CostModel,
        rows: StoredRows | None = None,
        partition: CachePartition | None = None,
    ) -> None:
        self._model = model
        self._version = version
        self._reader = reader
        self.most_values = reader.most_values
        self.counts = counts
        self._rows = rows
        self._partition = partition
        self._outputs = Outputs(model)
        self._row_bytes = FP64.width * model.engine.n_features
        self._origin: Mapping[str, Parameter] = {"bundle_version": model.bundle.short_version}
        self._most_at_once = {each: costs.most_within(MAX_LOOP_S, explained=each) for each in (False, True)}
        """How many rows the loop takes on, without reasons and with them."""

    def infer(self, request: InferRequest, write: Write, *, may_explain: bool) -> Result:
        """Answer a request, as `DataPlane.infer` says."""
        began_s = request.began_s or perf_counter()
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        size = 0
        for each in request.inputs:
            size += len(each.data)
        if size > TENSOR_BYTES or len(request.inputs) > TENSOR_COUNT:
            return self.infer_aside(lambda: request, write, may_explain=may_explain)
        try:
            run = self._begin(request, write, began_s, may_explain)
            if run.by_key:
                made = self._answer_keys(run, self._reader.keys(request.inputs))
            else:
                made = self._answer_rows(run, self._reader.table(request.inputs))
            return limited(made, run.deadline_s)
        except Exception:
            self.counts.failed(perf_counter() - began_s)
            raise

    def infer_aside(self, read: Callable[[], InferRequest], write: Write, *, may_explain: bool) -> Deferred:
        """Answer a request that takes long to read: all of it is done beside the loop, which looks up keys and counts."""
        runs: list[_Run] = []
        began_s = perf_counter()

        def work() -> bytes | Awaited:
            recorder = recording()
            if recorder is not None:
                recorder.enter(DECODE)
            run = self._begin(read(), write, began_s, may_explain)
            if run.by_key:
                keys = self._reader.keys(run.request.inputs)
                runs.append(run)
                return Awaited(lambda: self._answer_keys_later(run, keys))
            runs.append(run)
            table = self._reader.table(run.request.inputs)
            run.count = table.count
            run.read_s = run.ready_s = perf_counter()
            return self._whole(run, table.rows)

        def after() -> None:
            if not runs:
                self.counts.failed(perf_counter() - began_s)
            elif not runs[0].by_key:
                self._count_made(runs[0])
                if runs[0].made_s:
                    self._count_answered(runs[0])

        return Deferred(work, after)

    def _begin(self, request: InferRequest, write: Write, began_s: float, may_explain: bool) -> _Run:
        timeout_s = parameter_timeout_s(request.parameters.get(TIMEOUT))
        deadline_s = began_s + timeout_s if timeout_s else 0.0
        if deadline_s and perf_counter() > deadline_s:
            raise too_late()
        wanted = self._outputs.wanted(request)
        if wanted.explains:
            if not may_explain:
                raise NotPermittedError(
                    "the key lacks the scope 'explain', which the outputs shap_values and shap_base need",
                    scope="explain",
                )
            self._model.explainer()
        return _Run(request, write, wanted, began_s, deadline_s, self._reader.is_by_key(request.inputs))

    def _answer_rows(self, run: _Run, table: Table) -> Result:
        run.count = table.count
        rows = table.rows
        return self._answer(run, (rows,), partial(self._work, run, rows))

    def _answer_keys(self, run: _Run, keys: Sequence[ByKey]) -> Result:
        run.count = len(keys)
        parts = [part for each in keys for part in (len(each.key).to_bytes(4, "little"), each.key)]
        return self._answer(run, parts, partial(self._look_up, run, keys))

    async def _answer_keys_later(self, run: _Run, keys: Sequence[ByKey]) -> Result:
        """Answer on the loop what was read beside it."""
        try:
            return self._answer_keys(run, keys)
        except Exception:
            self.counts.failed(perf_counter() - run.began_s)
            raise

    def _answer(self, run: _Run, parts: Sequence[Rows], work: Callable[[_Make], Result]) -> Result:
        """Answer from the shelf, or by `work`, which makes what it is told to; `parts` are the rows, or the keys of rows."""
        run.read_s = perf_counter()
        recorder = recording()
        if recorder is not None:
            recorder.enter(REST)
        partition = self._partition
        if partition is None or run.count * self._row_bytes > MAX_BODY_BYTES:
            made = work(self._whole)
            return (
                self._answered(run, made) if isinstance(made, bytes) else followed(made, partial(self._answered, run))
            )

        def make(_key: bytes) -> Result:
            run.missed_s = perf_counter()
            return work(self._packed)

        key = b"".join((b"k" if run.by_key else b"r", run.wanted.tag, b":", *parts))
        return followed(partition.find(make, key), partial(self._finish, run))

    def _work(self, run: _Run, rows: Rows, make: _Make) -> bytes | Deferred:
        run.ready_s = perf_counter()
        makes_reasons = run.wanted.explains and not are_all_known(run.known)
        if run.count > self._most_at_once[makes_reasons]:
            transaction, fresh_until_s = owed(run.found)
            return Deferred(
                lambda: make(run, rows),
                lambda: self._count_made(run),
                transaction=transaction,
                fresh_until_s=fresh_until_s,
            )
        made = make(run, rows)
        self._count_made(run)
        return made

    def _packed(self, run: _Run, rows: Rows) -> bytes:
        """Return what the shelf keeps of rows, in any thread: their tensors, and of looked-up rows what is told of them."""
        recorder = recording()
        if recorder is not None:
            recorder.enter(ENGINE)
        run.entered_s = perf_counter()
        model = self._model
        margins = model.engine.margins(rows)
        contributions = None
        if run.wanted.explains:
            if recorder is not None:
                recorder.enter(EXPLAIN)
            contributions = reasons(model, rows, run.found, run.known)
        run.inferred_s = perf_counter()
        if recorder is not None:
            recorder.enter(REST)
        packed = self._outputs.pack(run.wanted, margins, contributions)
        if run.by_key:
            transaction, fresh_until_s = owed(run.found)
            shared = self._rows is None or self._rows.local is None
            # A store that machines share says nothing of changes: an answer from it must not be given again.
            until_s = -math.inf if shared else fresh_until_s
            packed = KeyedAnswer(tell(run.found, packed), transaction or 0, until_s)
        run.made_s = perf_counter()
        return packed

    def _whole(self, run: _Run, rows: Rows) -> bytes:
        """Make the whole answer, in any thread."""
        answer = self._write(run, self._packed(run, rows))
        run.made_s = perf_counter()
        return answer

    def _write(self, run: _Run, packed: bytes) -> bytes:
        parameters = self._origin
        if run.by_key:
            told, packed = hear(packed)
            parameters = {**parameters, **told}
        tensors = self._outputs.unpack(run.wanted, packed, run.count)
        return run.write(InferResponse(self._model.name, self._version, run.request.id, parameters, tensors))

    def _finish(self, run: _Run, packed: bytes) -> bytes | Deferred:
        """Write what the shelf had, or what was made for this request or for another that asked the same."""
        if len(packed) > MAX_BODY_BYTES:
            return Deferred(lambda: self._write(run, packed), lambda: self._count_answered(run))
        return self._answered(run, self._write(run, packed))

    def _answered(self, run: _Run, answer: bytes) -> bytes:
        self._count_answered(run)
        return answer

    def _look_up(self, run: _Run, keys: Sequence[ByKey], make: _Make) -> Result:
        rows, recorder = self._rows, recording()
        if rows is None:
            raise AssertionError("a key was read for a model without rows")
        if recorder is not None:
            recorder.enter(FEATURES)
        if rows.local is not None:
            return self._work_found(run, rows, rows.read(keys, range(len(keys))), make)

        async def look_up() -> Result:
            if recorder is not None:
                recorder.enter(FEATURES)
            try:
                return self._work_found(run, rows, await rows.fetch(keys, range(len(keys))), make)
            except BaseException:
                self.counts.failed(perf_counter() - run.began_s)
                raise

        return Awaited(look_up)

    def _work_found(self, run: _Run, rows: StoredRows, found: Sequence[FoundRow], make: _Make) -> bytes | Deferred:
        run.found = found
        if (recorder := recording()) is not None:
            recorder.enter(REST)
        if run.wanted.explains:
            run.known = [rows.contributions(each) for each in found]
        return self._work(run, self._model.table([each.row for each in found]), make)

    def _count_made(self, run: _Run) -> None:
        """Count what was made, or that it could not be."""
        if not run.made_s:
            self.counts.failed(perf_counter() - run.began_s)
            return
        self.counts.made(
            run.count,
            run.count if run.wanted.explains else 0,
            run.ready_s - (run.missed_s or run.read_s) + run.read_s - run.began_s,
            run.entered_s - run.ready_s,
            run.inferred_s - run.entered_s,
            run.made_s - run.inferred_s,
        )

    def _count_answered(self, run: _Run) -> None:
        """Count an answer: who got what was made before, or for another, is a hit."""
        now_s = perf_counter()
        self.counts.answered(now_s - run.began_s)
        if not run.made_s:
            self.counts.hit(now_s - run.read_s)
        elif run.missed_s:
            self.counts.missed(run.missed_s - run.read_s)
