"""The handler of Arrow bodies of `/predict/batch`: a stream of rows in, predictions out, as JSON or as a stream."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from mlrf.core.errors import InvalidRequestError, UnsupportedMediaTypeError
from mlrf.core.json_infinities import encoded_infinities
from mlrf.core.leniency import Leniency
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.http.accept_header import preferred_types
from mlrf.serving.http.gzip_body import unzip_whole
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import JSON, Framed, unzipping
from mlrf.serving.native.response_builder import ResponseBuilder
from mlrf.serving.runtime.cost_model import CostModel
from mlrf.serving.runtime.results import Deferred, Handler, Result
from mlrf.serving.runtime.stages import DECODE, ENGINE, REST, recording, staged
from mlrf.serving.runtime.thresholds import ARROW_BYTES, ARROW_VALUES, MAX_LOOP_S

if TYPE_CHECKING:
    from mlrf.serving.arrow.answer_writer import AnswerWriter
    from mlrf.serving.arrow.row_reader import RowReader, StreamRows

ARROW = b"application/vnd.apache.arrow.stream"
_GZIP = b"\x1f\x8b"


class _Codec(msgspec.Struct, frozen=True):
    """The reader of rows for a model, and the writer of its answers."""

    reader: RowReader
    writer: AnswerWriter


class ArrowHandler:
    """Answers Arrow bodies for one model."""

    def __init__(
        self,
        model: RowPredictor,
        leniency: Leniency,
        max_rows: int,
        responses: ResponseBuilder,
        costs: CostModel,
        count: Callable[[int], None],
    ) -> None:
        """`count` counts instances, on the event loop."""
        self._model = model
        self._leniency = leniency
        self._max_rows = max_rows
        self._responses = responses
        self._costs = costs
        self._count = count
        self._codec: _Codec | None = None
        most_values = max_rows * len(model.schema.features)
        self._loop_bytes = ARROW_BYTES if most_values <= ARROW_VALUES else ARROW_VALUES // 8
        """Longer bodies are read in the worker's thread."""

    def json(self, body: bytes) -> Result:
        """Answer a body in JSON, as the native route does."""
        return self._answer(body, self._json)

    def stream(self, body: bytes) -> Result:
        """Answer a body with an Arrow stream."""
        return self._answer(body, self._stream)

    def as_json(self, body: bytes, _answer: bytes) -> tuple[bytes, bytes]:
        """Return a body that was answered, and its answer, as native JSON by name, complete; for the prediction log."""
        rows = self._opened().reader.rows(body)
        schema, width = self._model.schema, len(self._model.schema.features)
        features = (schema.instance(rows.table[at : at + width]) for at in range(0, len(rows.table), width))
        instances: list[dict[str, Any]] = [{"features": encoded_infinities(each)} for each in features]
        for instance, start in zip(instances, rows.base_margins or (), strict=False):
            instance["base_margin"] = start
        return msgspec.json.encode({"instances": instances}), self._json(rows._replace(defaults={}))

    def _answer(self, body: bytes, write: Callable[[StreamRows], bytes]) -> Result:
        if len(body) > self._loop_bytes or self._codec is None or not self._codec.reader.knows(body):
            counts: list[int] = []

            def run() -> bytes:
                rows = self._read(body)
                counts.append(self._n_rows(rows))
                return write(rows)

            return Deferred(run, lambda: self._count(counts[0]) if counts else None)
        rows = self._read(body)
        n_rows = self._n_rows(rows)
        if self._costs.of(n_rows) > MAX_LOOP_S:
            return Deferred(lambda: write(rows), lambda: self._count(n_rows))
        self._count(n_rows)
        return write(rows)

    def _read(self, body: bytes) -> StreamRows:
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        rows = self._opened().reader.rows(body)
        if recorder is not None:
            recorder.enter(REST)
        return rows

    def _opened(self) -> _Codec:
        """Return the reader and the writer; the first body imports their modules, in the worker's thread."""
        if self._codec is None:
            from mlrf.serving.arrow.answer_writer import AnswerWriter  # noqa: PLC0415
            from mlrf.serving.arrow.row_reader import RowReader  # noqa: PLC0415

            reader = RowReader(self._model.schema, self._leniency, self._max_rows)
            self._codec = _Codec(reader, AnswerWriter(self._model))
        return self._codec

    def _n_rows(self, rows: StreamRows) -> int:
        return len(rows.table) // len(self._model.schema.features)

    def _json(self, rows: StreamRows) -> bytes:
        answer = self._responses.predictions(self._model.predictions(self._margins(rows)))
        if rows.defaults:
            answer += b',"defaults":%b' % msgspec.json.encode([rows.defaults] * self._n_rows(rows))
        return answer + b"}"

    def _stream(self, rows: StreamRows) -> bytes:
        predictions = self._model.predictions(self._margins(rows))
        return Framed(self._opened().writer.stream(predictions, rows.defaults), ARROW, b"")

    def _margins(self, rows: StreamRows) -> array[float]:
        table, base_margins, _ = rows
        if base_margins is None:
            return staged(ENGINE, self._model.engine.margins, table)
        n_outputs = self._model.engine.n_outputs
        if n_outputs != 1:
            raise InvalidRequestError(
                f"a column gives one base margin a row, and {self._model.name} has {n_outputs} outputs; send base_margin in "
                "JSON or as a tensor",
                field="base_margin",
            )
        return staged(ENGINE, lambda table: self._model.margins_from(table, base_margins), table)


class _ArrowBody:
    """Answers the Arrow bodies of one head, plain or in gzip."""

    def __init__(self, handler: ArrowHandler, answer: Handler, max_body_bytes: int) -> None:
        self._handler = handler
        self._answer = answer
        self._max_body_bytes = max_body_bytes

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        return self._answer(body)

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """As of `ArrowHandler`."""
        plain = unzip_whole(body, self._max_body_bytes) if body.startswith(_GZIP) else body
        return self._handler.as_json(plain, answer)


class BatchHandler:
    """Answers `/predict/batch`: JSON bodies, and Arrow bodies for the heads that declare one."""

    def __init__(self, json: Handler, arrow: ArrowHandler) -> None:
        self._json = json
        self.arrow = arrow

    def __call__(self, body: bytes) -> Result:
        """Answer a JSON body."""
        return self._json(body)


def fit(handler: Handler, head: Head, max_body_bytes: int) -> Handler | None:
    """Return the handler of a head's Arrow body; None for another body."""
    kind = (head.content_type or JSON).partition(b";")[0].strip().lower()
    # The handler may be wrapped to refuse explanations to a caller; an Arrow body requests none.
    batch = getattr(handler, "unrestricted", handler)
    if kind != ARROW or not isinstance(batch, BatchHandler):
        return None
    chosen = next((each for each in preferred_types(head.accept or b"*/*") if each in (ARROW, JSON)), JSON)
    answer: Handler = batch.arrow.stream if chosen == ARROW else batch.arrow.json
    encoding = (head.content_encoding or b"identity").strip().lower()
    if encoding == b"gzip":
        answer = unzipping(answer, max_body_bytes)
    elif encoding != b"identity":
        raise UnsupportedMediaTypeError("the only Content-Encoding supported is gzip", accepted=["gzip", "identity"])
    return _ArrowBody(batch.arrow, answer, max_body_bytes)
