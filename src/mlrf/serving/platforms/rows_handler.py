"""Answers rows that a body has in another platform's notation, as a batch of the native route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mlrf.serving.http.router import JSON
from mlrf.serving.native.canonical_rows import RowWriter, batch_body
from mlrf.serving.platforms.responses import Responses, Shape
from mlrf.serving.platforms.settings import Platform
from mlrf.serving.runtime.results import Continued, Deferred, Handler, Result, followed
from mlrf.serving.runtime.thresholds import STRICT_JSON_BYTES

ReadRows = Callable[[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class PlatformModel:
    """What the handlers of platforms' routes use of one model."""

    writer: RowWriter
    """Writes its rows."""
    batch: Handler
    """Answers `/predict/batch`."""
    responses: Responses
    platform: Platform | None
    """The platform whose request format `/invocations` follows, of `--platform`."""


class RowsHandler:
    """Answers bodies by rewriting them for the native route of batches."""

    def __init__(self, read: ReadRows, batch: Handler, shape: Shape, *, explains: bool = False) -> None:
        """`read` returns the rows of a body, `batch` answers `/predict/batch`, `shape` rewrites its answer."""
        self._read = read
        self._batch = batch
        self._shape = shape
        self._explains = explains

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        if len(body) > STRICT_JSON_BYTES:
            return followed(Continued(Deferred(partial(self._rewritten, body)), self._batch), self._shaped)
        return followed(self._batch(self._rewritten(body)), self._shaped)

    def without_explanations(self) -> Handler:
        """Return the same handler: no member of these bodies requests explanations."""
        return self

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """Return the native form of a body that was answered, and its answer as JSON; for the prediction log."""
        text = bytes(answer)
        is_json = getattr(answer, "content_type", JSON) == JSON
        return self._rewritten(body), text if is_json else _as_json_strings(text)

    def _rewritten(self, body: bytes) -> bytes:
        return batch_body(self._read(body), explain=self._explains)

    def _shaped(self, answer: bytes) -> Result:
        if len(answer) > STRICT_JSON_BYTES:
            return Deferred(lambda: self._shape(answer))
        return self._shape(answer)


def _as_json_strings(text: bytes) -> bytes:
    """Return lines of CSV or of JSON as one JSON array of strings."""
    import msgspec  # noqa: PLC0415  for the prediction log alone

    return msgspec.json.encode(text.decode().splitlines())
