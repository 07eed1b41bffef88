"""Inference on one version of a model: tensors of a request to rows, rows to margins, margins to the requested outputs.

Work that would block the event loop for more than about a millisecond is returned as `Deferred`, look-ups in a shared store
as `Awaited`. Only the event loop updates counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter

from mlrf.core.errors import NotPermittedError
from mlrf.engines.interface import Rows
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.cache.cache_partition import MAX_BODY_BYTES, CachePartition
from mlrf.serving.cache.keyed_answer import features_of, with_features
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.lookup.stored_rows import FoundRow, StoredRows
from mlrf.serving.oip.computed_values import compute_values, split_base_margin
from mlrf.serving.oip.datatypes import FP64
from mlrf.serving.oip.explained_game import game_parameters, in_game
from mlrf.serving.oip.inference_run import Encode, EncodeTable, InferenceRun, TableRequest
from mlrf.serving.oip.messages import InferRequest, InferResponse, Parameter
from mlrf.serving.oip.output_tensors import NO_VALUES, Outputs
from mlrf.serving.oip.row_lookup import are_all_precomputed, deferred_of, keyed_answer, look_up, unpack_parameters
from mlrf.serving.oip.statistics import InferenceCounts
from mlrf.serving.oip.tensor_reader import TensorReader
from mlrf.serving.runtime.cost_model import CostModel
from mlrf.serving.runtime.deadlines import TIMEOUT, parameter_deadline_s
from mlrf.serving.runtime.results import Awaited, Deferred, Result, followed, limited
from mlrf.serving.runtime.stages import DECODE, ENGINE, REST, recording
from mlrf.serving.runtime.thresholds import MAX_LOOP_S, PACKED_BYTES, TENSOR_BYTES, TENSOR_COUNT

_Make = Callable[[InferenceRun, Rows], bytes]


class ModelInference:
    """Answers inference requests for one version of a model, and for its stored `rows` if it has any.

    `partition` caches the tensors of rows, whatever the transport, datatype and id of the request, because clients send a
    different id with each request. Reading a small request and writing its response (ADR 8) remains.
    """

    def __init__(
        self,
        model: RowPredictor,
        version: str,
        reader: TensorReader,
        counts: InferenceCounts,
        costs: CostModel,
        rows: StoredRows | None = None,
        partition: CachePartition | None = None,
    ) -> None:
        """`version` is the version's number, as clients send it."""
        self._model = model
        self.bundle = model.bundle
        self.name = model.bundle.name
        self.version = version
        self.reader = reader
        self.max_rows = reader.max_rows
        self.most_values = reader.most_values
        self.counts = counts
        self._rows = rows
        self._partition = partition
        self.outputs = Outputs(model)
        self._row_bytes = FP64.width * model.engine.n_features
        self.origin: Mapping[str, Parameter] = {"bundle_version": model.bundle.short_version}
        self._costs = costs
        self._max_rows_on_loop = {each: costs.most_within(MAX_LOOP_S, explained=each) for each in (False, True)}
        """How many rows are computed on the event loop, without contributions and with them."""

    @property
    def by_key(self) -> bool:
        """Whether rows are looked up by key."""
        return self.reader.has_key

    @property
    def is_cached(self) -> bool:
        """Whether responses are cached."""
        return self._partition is not None

    def infer(self, request: InferRequest, encode: Encode, *, may_explain: bool) -> Result:
        """Answer a request, as described for `DataPlane.infer`."""
        began_s = request.began_s or perf_counter()
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        size = 0
        for each in request.inputs:
            size += len(each.data)
        if size > TENSOR_BYTES or len(request.inputs) > TENSOR_COUNT:
            return self.infer_off_loop(lambda: request, encode, may_explain=may_explain)
        try:
            run = self._begin(request, encode, began_s, may_explain)
            if run.by_key:
                made = self._answer_keys(run, self.reader.keys(run.request.inputs))
            else:
                run.count, rows = self.reader.table(run.request.inputs)
                made = self._answer(run, (rows,), partial(self._compute, run, rows))
            return limited(made, run.deadline_s) if run.deadline_s else made
        except Exception:
            self.counts.failed(perf_counter() - began_s)
            raise

    def infer_table(self, read: TableRequest, encode: EncodeTable, began_s: float) -> Result:
        """Answer a request whose rows have been read, as `infer` does.

        A few rows without a cache need no `InferenceRun`, whose calls take a third of the time of one row.
        """
        try:
            requested, n_rows, rows, _, _ = read
            if self._partition is not None or n_rows > self._max_rows_on_loop[False]:
                run = InferenceRun(began_s, count=n_rows, requested=requested, encode_packed=partial(encode, read))
                return self._answer(run, (rows,), partial(self._compute, run, rows))
            read_s = perf_counter()
            recorder = recording()
            if recorder is not None:
                recorder.enter(ENGINE)
            margins = self._model.engine.margins(rows)
            inferred_s = perf_counter()
            if recorder is not None:
                recorder.enter(REST)
            answer = encode(read, self.outputs.pack(requested, margins, NO_VALUES))
        except Exception:
            self.counts.failed(perf_counter() - began_s)
            raise
        self.counts.answered_at_once(n_rows, began_s, read_s, inferred_s)
        return answer

    def infer_off_loop(self, decode: Callable[[], InferRequest], encode: Encode, *, may_explain: bool) -> Deferred:
        """Answer a request that takes long to read: off the event loop, except looking up keys and counting."""
        runs: list[InferenceRun] = []
        began_s = perf_counter()

        def work() -> bytes | Awaited:
            recorder = recording()
            if recorder is not None:
                recorder.enter(DECODE)
            run = self._begin(decode(), encode, began_s, may_explain)
            if run.by_key:
                keys = self.reader.keys(run.request.inputs)
                runs.append(run)
                return Awaited(lambda: self._answer_keys_later(run, keys))
            runs.append(run)
            run.count, rows = self.reader.table(run.request.inputs)
            run.n_explained = run.count if run.requested.explains else 0
            run.read_s = run.ready_s = perf_counter()
            return self._encoded(run, rows)

        def after() -> None:
            if not runs:
                self.counts.failed(perf_counter() - began_s)
            elif not runs[0].by_key:
                self.counts.computed(runs[0])
                if runs[0].made_s:
                    self.counts.answered(runs[0])

        return Deferred(work, after)

    def _begin(self, request: InferRequest, encode: Encode, began_s: float, may_explain: bool) -> InferenceRun:
        timeout = request.parameters.get(TIMEOUT)
        deadline_s = 0.0 if timeout is None else parameter_deadline_s(timeout, began_s)
        base_margin = None
        if len(request.inputs) > 1 and self.reader.may_have_base_margin:
            request, base_margin = split_base_margin(request)
        requested = self.outputs.requested(request, has_bases=base_margin is not None)
        if requested.explains:
            if not may_explain:
                raise NotPermittedError(
                    "the key lacks the scope 'explain', which the outputs shap_values, shap_interactions and shap_base need",
                    scope="explain",
                )
            self._model.explainer()
            requested = in_game(requested, request.parameters, self._model)
        by_key = self.reader.has_key and self.reader.is_by_key(request.inputs)
        return InferenceRun(
            began_s,
            request=request,
            encode=encode,
            requested=requested,
            deadline_s=deadline_s,
            by_key=by_key,
            base_margin=base_margin,
        )

    def _answer_keys(self, run: InferenceRun, keys: Sequence[ByKey]) -> Result:
        run.count = len(keys)
        parts = [part for each in keys for part in (len(each.key).to_bytes(4, "little"), each.key)]
        return self._answer(run, parts, partial(self._look_up, run, keys))

    async def _answer_keys_later(self, run: InferenceRun, keys: Sequence[ByKey]) -> Result:
        """Answer, on the event loop, a request that was decoded off it."""
        try:
            return self._answer_keys(run, keys)
        except Exception:
            self.counts.failed(perf_counter() - run.began_s)
            raise

    def _answer(self, run: InferenceRun, parts: Sequence[Rows], work: Callable[[_Make], Result]) -> Result:
        """Answer from the cache, or by running `work`; `parts` are the rows, or the keys of rows."""
        run.read_s = perf_counter()
        recorder = recording()
        if recorder is not None:
            recorder.enter(REST)
        partition = self._partition
        if partition is None or run.base_margin is not None or run.count * self._row_bytes > MAX_BODY_BYTES:
            return followed(work(self._encoded), partial(self._answered, run))

        def make(_key: bytes) -> Result:
            run.missed_s = perf_counter()
            return work(self._packed)

        packed = partition.find(make, b"".join((b"k" if run.by_key else b"r", run.requested.tag, b":", *parts)))
        if isinstance(packed, bytes):
            return self._finish(run, packed)
        return followed(packed, partial(self._finish, run))

    def _compute(self, run: InferenceRun, rows: Rows, make: _Make) -> bytes | Deferred:
        run.ready_s = perf_counter()
        run.n_explained = run.count if run.requested.explains else 0
        requested = run.requested
        explains = requested.reports_leaves or (requested.explains and not are_all_precomputed(run.precomputed))
        if run.count > self._max_rows_on_loop[explains] or requested.kind is not None:
            work, cost_s = self._costs.predicted(requested.kind, run.count, partial(make, run, rows))
            return deferred_of(run.found, work, partial(self.counts.computed, run), cost_s)
        made = make(run, rows)
        self.counts.computed(run)
        return made

    def _packed(self, run: InferenceRun, rows: Rows) -> bytes:
        """Return what the cache stores for rows, in any thread: their tensors, and the parameters of looked-up rows."""
        recorder = recording()
        if recorder is not None:
            recorder.enter(ENGINE)
        run.entered_s = perf_counter()
        requested = run.requested
        if run.base_margin is None and not requested.explains and not requested.reports_leaves:
            margins, values = self._model.engine.margins(rows), NO_VALUES
        else:
            margins, values = compute_values(self._model, run, rows)
        run.inferred_s = perf_counter()
        if recorder is not None:
            recorder.enter(REST)
        packed = self.outputs.pack(requested, margins, values)
        if run.by_key:
            packed = keyed_answer(self._model, self._rows, run.found, packed)
        run.made_s = perf_counter()
        return packed

    def _encoded(self, run: InferenceRun, rows: Rows) -> bytes:
        """Return the complete answer, in any thread."""
        answer = self._encode(run, self._packed(run, rows))
        run.made_s = perf_counter()
        return answer

    def _encode(self, run: InferenceRun, packed: bytes) -> bytes:
        if run.encode_packed is not None:
            return run.encode_packed(packed)
        game = run.requested.game
        parameters = self.origin if game is None else {**self.origin, **game_parameters(game, self._model)}
        features = None
        if run.by_key:
            features = features_of(packed)
            of_rows, packed = unpack_parameters(packed)
            parameters = {**parameters, **of_rows}
        request = run.request
        tensors = self.outputs.unpack(run.requested, packed, run.count)
        answer = run.encode(request, InferResponse(self.name, self.version, request.id, parameters, tensors))
        return answer if features is None else with_features(answer, features)

    def _finish(self, run: InferenceRun, packed: bytes) -> bytes | Deferred:
        """Encode a cached answer, or one that was computed for this request or for an equal one."""
        if len(packed) > PACKED_BYTES:
            return Deferred(lambda: self._encode(run, packed), lambda: self.counts.answered(run))
        answer = self._encode(run, packed)
        self.counts.answered(run)
        return answer

    def _answered(self, run: InferenceRun, answer: bytes) -> bytes:
        self.counts.answered(run)
        return answer

    def _look_up(self, run: InferenceRun, keys: Sequence[ByKey], make: _Make) -> Result:
        rows = self._rows
        if rows is None:
            raise AssertionError("a key was read for a model without rows")

        def compute(found: Sequence[FoundRow]) -> bytes | Deferred:
            run.found = found
            if run.requested.explains:
                run.precomputed = [rows.contributions(each) for each in found]
            return self._compute(run, self._model.table([each.row for each in found]), make)

        return look_up(rows, keys, compute, lambda: self.counts.failed(perf_counter() - run.began_s))
