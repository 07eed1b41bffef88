"""Builds the JSON responses of one model: predictions and explanations of parsed rows.

The predict handler decides on which thread: `off_loop` and `batch` may run in any thread.

A new member is described in `pages/openapi_native.py`. Answers in Arrow have their own writer (`arrow/answer_writer.py`), and
`mlrf replay` reports the member as a difference unless the model does not determine it (`cli/replay_comparison.py`).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain, groupby
from typing import Any

import msgspec

from mlrf.engines.interface import Row
from mlrf.model.explanation_kinds import ExplanationKind
from mlrf.model.row_predictor import Prediction, RowPredictor
from mlrf.serving.cache.keyed_answer import KeyedAnswer
from mlrf.serving.lookup.instance_json import instance_json, instances_json
from mlrf.serving.lookup.stored_rows import FoundRow, StoredRows
from mlrf.serving.native.base_and_leaves import leaves_of, move_margins
from mlrf.serving.native.explanation_writer import Source
from mlrf.serving.native.explanations import Explanations
from mlrf.serving.native.requests import Details, ExplainOption, Game, ParsedRequest, PlainBatch, kind_of
from mlrf.serving.runtime.stages import ENGINE, staged

_encode = msgspec.json.encode


class ResponseBuilder:
    """Builds the responses of one model."""

    def __init__(self, model: RowPredictor, *, never_cached: bool, logs_rows: bool = False) -> None:
        """`never_cached`: responses from stored rows must not be cached, since changes of the rows are not reported.

        `logs_rows`: these responses carry the rows that they were made from, for the prediction log.
        """
        self._logs_rows = logs_rows
        self.model = model
        self._never_cached = never_cached
        named = b',"model":%b,"version":%b' % (_encode(model.name), _encode(model.bundle.short_version))
        self.origin = named + b',"cached":false'
        """The members after a prediction. Text from callers must come later, because the cache rewrites the first
        `"cached"`."""
        self._classifies = model.classes is not None
        self.explanations = Explanations(model)

    def prediction(self, prediction: Prediction) -> bytes:
        """Return the response to one row, without its closing brace."""
        if not self._classifies:
            return b'{"prediction":%b%b' % (_encode(prediction), self.origin)
        return b'{"prediction":%b,"label":%b,"probabilities":%b%b' % (
            _encode(prediction),
            _encode(self.model.label_of(prediction)),
            _encode(self.model.probabilities_of(prediction)),
            self.origin,
        )

    def predictions(self, predictions: Sequence[Prediction]) -> bytes:
        """Return the response to a batch, without its closing brace; safe in any thread."""
        answer = b'{"predictions":%b' % _encode(predictions)
        if self._classifies:
            labels = [self.model.label_of(p) for p in predictions]
            probabilities = [self.model.probabilities_of(p) for p in predictions]
            answer += b',"labels":%b,"probabilities":%b' % (_encode(labels), _encode(probabilities))
        return answer + self.origin

    def one(self, row: Row, details: Details | None, found: FoundRow | None) -> bytes:
        """Return the response to one instance; on the event loop."""
        if details is not None and details.needs_trees:
            return self.off_loop(row, False, details, found)
        margins = staged(ENGINE, self.model.engine.margin, row)
        return self.whole(self.prediction(self.model.prediction(margins)), row, details, found, b"}")

    def explained(
        self,
        row: Row,
        explain: ExplainOption,
        details: Details | None,
        found: FoundRow | None,
        precomputed: Sequence[float] | None,
    ) -> bytes:
        """Return the response to one instance with its explanation, on the event loop; `precomputed` come from the bundle."""
        if details is not None and details.needs_trees:
            return self.off_loop(row, explain, details, found)
        margins = staged(ENGINE, self.model.engine.margin, row)
        if precomputed is not None:
            return self._with_explanation(margins, precomputed, row, explain, details, found, "precomputed")
        contributions = self.explanations.of_row(row)
        return self._with_explanation(margins, contributions, row, explain, details, found, "live")

    def off_loop(self, row: Row, explain: ExplainOption, details: Details | None, found: FoundRow | None) -> bytes:
        """Return the response to one instance, in any thread; uses the batch engine, as one-row scoring is not thread-safe."""
        table = self.model.table([row])
        margins, bases = self._margins(table, [row], [details])
        if explain is False:
            return self.whole(self.prediction(self.model.prediction(margins)), row, details, found, b"}")
        contributions = self.explanations.of_rows([row], explain)
        return self._with_explanation(margins, contributions, row, explain, details, found, "live", bases.get(0))

    def plain_batch(self, batch: PlainBatch) -> bytes:
        """Return the response to a batch of rows without options of their own, in any thread."""
        margins = staged(ENGINE, self.model.engine.margins, batch.table)
        answer = self.predictions(self.model.predictions(margins))
        if batch.explain is False:
            return answer + b"}"
        contributions = self.explanations.of_table(batch.table)
        written = self.explanations.write(margins, contributions, batch.explain, "live")
        return b'%b,"explanations":[%b]}' % (answer, b",".join(written))

    def batch(
        self,
        parsed: list[ParsedRequest],
        found: Mapping[int, FoundRow],
        explained: Sequence[int],
        precomputed: Mapping[int, Sequence[float]],
    ) -> bytes:
        """Return the response to a batch, in any thread; `found` (stored rows), `precomputed` (contributions) by index."""
        rows: list[Any] = [row for row, _, _ in parsed]
        for index, each in found.items():
            rows[index] = each.row
        details = [each for _, _, each in parsed]
        margins, bases = self._margins(self.model.table(rows), rows, details)
        answer = self.predictions(self.model.predictions(margins))
        if found:
            as_of = [found[i].as_of if i in found else b"null" for i in range(len(parsed))]
            answer += b',"features_as_of":[%b]' % b",".join(as_of)
            if any(each.is_stale for each in found.values()):
                stale = [i in found and found[i].is_stale for i in range(len(parsed))]
                answer += b',"features_stale":%b' % _encode(stale)
        if any(details):
            answer += self._batch_details(rows, details)
        if explained:
            written = self._explanations(parsed, rows, margins, bases, explained, precomputed)
            answer += b',"explanations":[%b]' % b",".join(written)
        answer += b"}"
        if not found:
            return answer
        fresh_until_s = -math.inf if self._never_cached else min(each.fresh_until_s for each in found.values())
        keyed = KeyedAnswer(answer, min(each.stored.transaction for each in found.values()), fresh_until_s)
        if self._logs_rows:
            kept = [[*found[index].row] if index in found else None for index in range(len(parsed))]
            keyed.features = partial(instances_json, self.model, kept)
        return keyed

    def _margins(
        self, table: array[float], rows: Sequence[Row], details: Sequence[Details | None]
    ) -> tuple[array[float], Mapping[int, Sequence[float]]]:
        """Return the margins of rows, and by index the bases of those that start elsewhere."""
        margins = staged(ENGINE, self.model.engine.margins, table)
        if not any(each is not None and each.base_margin is not None for each in details):
            return margins, {}
        return move_margins(self.model, rows, margins, details)

    def _batch_details(self, rows: list[Any], details: list[Details | None]) -> bytes:
        """Return the members `features`, `defaults` and `leaves` of a batch, where an instance has them."""
        members = b""
        if any(each is not None and each.features for each in details):
            instances = (
                self._instance(row) if each is not None and each.features else b"null"
                for row, each in zip(rows, details, strict=True)
            )
            members += b',"features":[%b]' % b",".join(instances)
        if any(each is not None and each.defaults for each in details):
            members += b',"defaults":%b' % _encode([None if each is None else each.defaults for each in details])
        if any(each is not None and each.leaves for each in details):
            members += b',"leaves":%b' % _encode(leaves_of(self.model, rows, details))
        return members

    def _with_explanation(
        self,
        margins: Sequence[float],
        contributions: Sequence[float],
        row: Row,
        explain: ExplainOption,
        details: Details | None,
        found: FoundRow | None,
        source: Source,
        base: Sequence[float] | None = None,
    ) -> bytes:
        answer = self.prediction(self.model.prediction(margins))
        (explanation,) = self.explanations.write(margins, contributions, explain, source, base, [row])
        return self.whole(answer, row, details, found, b',"explanation":%b}' % explanation)

    def _explanations(
        self,
        parsed: list[ParsedRequest],
        rows: Sequence[Row],
        margins: Sequence[float],
        bases: Mapping[int, Sequence[float]],
        explained: Sequence[int],
        precomputed: Mapping[int, Sequence[float]],
    ) -> list[bytes]:
        """Return the explanation of each instance that requests one, null for the others."""
        k = self.model.engine.n_outputs
        written = [b"null"] * len(parsed)
        for index, contributions in precomputed.items():
            its_margins = margins[index * k : (index + 1) * k]
            (written[index],) = self.explanations.write(
                its_margins, contributions, parsed[index][1], "precomputed", bases.get(index)
            )
        live = [index for index in explained if index not in precomputed]
        games = [_game_of(parsed[index][1]) for index in live]

        def options(chosen: tuple[int, int]) -> tuple[str, Sequence[float] | None]:
            # As text, because True, all features, equals 1, a single one.
            return repr(parsed[chosen[1]][1]), bases.get(chosen[1])

        for game in dict.fromkeys(games):
            chosen = [index for index, each in zip(live, games, strict=True) if each == game]
            contributions = self.explanations.of_rows([rows[i] for i in chosen], parsed[chosen[0]][1])
            width = len(contributions) // len(chosen)
            its_margins = array("d", chain.from_iterable(margins[i * k : (i + 1) * k] for i in chosen))
            # Neighbours with the same options are written in one call, which leaves the GIL to the event loop.
            for (_, base), run in groupby(enumerate(chosen), options):
                positions, indices = zip(*run, strict=True)
                first, end = positions[0], positions[-1] + 1
                documents = self.explanations.write(
                    its_margins[first * k : end * k],
                    contributions[first * width : end * width],
                    parsed[indices[0]][1],
                    "live",
                    base,
                    [rows[index] for index in indices],
                )
                for index, document in zip(indices, documents, strict=True):
                    written[index] = document
        return written

    def whole(self, answer: bytes, row: Row, details: Details | None, found: FoundRow | None, end: bytes) -> bytes:
        """Join the parts of a response: the prediction, the members about the row, and the final members."""
        features = b"" if details is None else self._details(details, row)
        if found is None:
            return answer + features + end
        stale = b',"features_stale":true' if found.is_stale else b""
        whole = b'%b,"features_as_of":%b%b%b%b' % (answer, found.as_of, stale, features, end)
        fresh_until_s = -math.inf if self._never_cached else found.fresh_until_s
        keyed = KeyedAnswer(whole, found.stored.transaction, fresh_until_s)
        if self._logs_rows:
            keyed.features = partial(self._instance, [*found.row])
        return keyed

    def _details(self, details: Details, row: Row) -> bytes:
        features = b',"features":%b' % self._instance(row) if details.features else b""
        defaults = b"" if details.defaults is None else b',"defaults":%b' % _encode(details.defaults)
        leaves = b',"leaves":%b' % _encode(leaves_of(self.model, [row], [details])[0]) if details.leaves else b""
        return features + defaults + leaves

    def _instance(self, row: Row) -> bytes:
        return instance_json(self.model, row)


def _game_of(explain: ExplainOption) -> ExplanationKind | None:
    """Return the kind of an instance's contributions: instances of one kind are computed in one call."""
    return kind_of(explain) if isinstance(explain, Game) else None


def responses_of(model: RowPredictor, rows: StoredRows | None) -> ResponseBuilder:
    """Return the builder of the responses of a model with these stored rows, or with none."""
    # A shared store does not report changes, so an answer made from it must not be cached.
    if rows is None:
        return ResponseBuilder(model, never_cached=False)
    return ResponseBuilder(model, never_cached=rows.local is None, logs_rows=rows.are_logged)
