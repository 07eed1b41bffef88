"""The handler of `/curve`: what a model answers for a row while one or two of its features take every value.

The body is that of `/predict` and "vary": the name of a feature, or an array of two. The parsers of `/predict` read all other
members, so the row may have any form that they accept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from mlrf.core.errors import FeatureCountError, InvalidRequestError
from mlrf.core.value_text import shown
from mlrf.engines.interface import Row
from mlrf.model.curve import Axis, Curve, Sweep, plan_sweep, score_sweep
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.lookup.stored_rows import FoundRow, StoredRows
from mlrf.serving.lookup.validity import with_validity
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.json_scanner import members_of, most_values, value_of, values_at_most, whole_document
from mlrf.serving.native.requests import Details
from mlrf.serving.native.response_builder import responses_of
from mlrf.serving.runtime.cost_model import CostModel
from mlrf.serving.runtime.results import Awaited, Deferred
from mlrf.serving.runtime.thresholds import JSON_PIECE_VALUES, MAX_LOOP_S, NUMBER_S, STRICT_JSON_BYTES

_encode = msgspec.json.encode


class CurveHandler:
    """Answers requests for response curves of one model, and of its stored `rows` if it has any."""

    def __init__(
        self, model: RowPredictor, decoder: RowDecoder, costs: CostModel, rows: StoredRows | None = None
    ) -> None:
        self._model = model
        self._decoder = decoder
        self._costs = costs
        self._rows = rows
        self._responses = responses_of(model, rows)

    def __call__(self, body: bytes) -> bytes | Deferred | Awaited:
        """Answer `POST /curve`."""
        if len(body) > STRICT_JSON_BYTES:
            return Deferred(lambda: self._off_loop(body))
        return self._answer(*self._parse(body), on_loop=True)

    def _off_loop(self, body: bytes) -> bytes | Awaited:
        made = self._answer(*self._parse(body), on_loop=False)
        return made.run() if isinstance(made, Deferred) else made

    def _parse(self, body: bytes) -> tuple[list[str], Row | ByKey, Details | None]:
        """Return the features to vary, the row or its key, and which details the response has."""
        document = whole_document(body, self._model.schema.names)
        n_features = len(self._model.schema.names)
        if (values := values_at_most(document)) > most_values(n_features):
            raise FeatureCountError(
                f"expected {n_features} features, got about {values} values; GET /models lists the features",
                expected=n_features,
                got=values,
            )
        members = members_of(document, "the body")
        vary = members.pop("vary", None)
        if vary is None:
            raise InvalidRequestError(
                'the body has no "vary"; send the name of a feature, or an array of two names', field="vary"
            )
        names = value_of(vary, "vary")
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidRequestError(
                f"vary must be the name of a feature or an array of two names, not {shown(value_of(vary, 'vary'))}",
                field="vary",
            )
        rest = b",".join(_encode(name) + b":" + bytes(value) for name, value in members.items())
        row, explain, details = self._decoder.row(b"{" + rest + b"}")
        if explain is not False:
            raise InvalidRequestError(
                "a curve has no explanation; leave explain out, or send the row to /explain", field="explain"
            )
        if details is not None and details.needs_trees:
            raise InvalidRequestError("a curve has no leaves and no base_margin; leave them out", field="leaves")
        return names, row, details

    def _answer(
        self, names: Sequence[str], row: Row | ByKey, details: Details | None, *, on_loop: bool
    ) -> bytes | Deferred | Awaited:
        if not isinstance(row, ByKey):
            return self._of_row(names, row, details, None)
        if self._rows is None:
            raise AssertionError("a key was read for a model without rows")
        if self._rows.local is not None and on_loop:
            found = self._rows.read_one(row)
            return self._of_row(names, found.row, details, found)
        rows, key = self._rows, row

        async def look_up() -> bytes | Deferred:
            (found,) = await rows.fetch([key])
            return self._of_row(names, found.row, details, found)

        return Awaited(look_up)

    def _of_row(
        self, names: Sequence[str], row: Row, details: Details | None, found: FoundRow | None
    ) -> bytes | Deferred:
        sweep = plan_sweep(self._model, row, names)
        work = Deferred(lambda: self._write(sweep, details, found))
        numbers = sweep.n_points * self._model.engine.n_outputs
        if self._costs.of(sweep.n_points) + numbers * NUMBER_S > MAX_LOOP_S:
            return with_validity(work, found)
        return self._write(sweep, details, found)

    def _write(self, sweep: Sweep, details: Details | None, found: FoundRow | None) -> bytes:
        curve = score_sweep(self._model, sweep)
        content = b"".join(self._members(curve))
        return self._responses.whole(content, sweep.row, details, found, b"}")

    def _members(self, curve: Curve) -> Iterator[bytes]:
        # Text with names of features must come after "cached", the first of which the cache rewrites.
        yield b"{" + self._responses.origin[1:] + b',"axes":['
        for index, axis in enumerate(curve.axes):
            yield b"," if index else b""
            yield from _axis(axis)
        yield b'],"margins":'
        yield from _array(curve.margins)
        yield b',"predictions":'
        yield from _array(curve.predictions)
        if self._model.classes is not None:
            yield b',"labels":'
            yield from _array([self._model.label_of(each) for each in curve.predictions])


def _axis(axis: Axis) -> Iterator[bytes]:
    yield b'{"feature":%b,"kind":%b,"cuts":' % (_encode(axis.feature), _encode(axis.kind.value))
    if axis.cuts is None:
        yield b"null"
    else:
        yield from _array(axis.cuts)
    yield b',"values":'
    yield from _array(axis.values)
    yield b',"at":%d}' % axis.at


def _array(items: Sequence[Any]) -> Iterator[bytes]:
    """Yield a JSON array in parts, between which other threads may run."""
    yield b"["
    for start in range(0, len(items), JSON_PIECE_VALUES):
        yield b"," if start else b""
        yield _encode(items[start : start + JSON_PIECE_VALUES])[1:-1]
    yield b"]"
