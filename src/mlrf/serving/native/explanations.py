"""Computes the explanations of rows and writes them as JSON, for each game that a request may choose."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from mlrf.engines.interface import BackgroundExplainer, Explainer, Row
from mlrf.model.interactions import check_interactions, interactions_of
from mlrf.model.prepared_game import PreparedGame
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.native.explanation_writer import ExplanationWriter, Source, with_member
from mlrf.serving.native.interaction_writer import MOST_INTERACTIONS, write_interactions
from mlrf.serving.native.requests import ExplainOption, Game, Interactions
from mlrf.serving.runtime.cost_model import shortest
from mlrf.serving.runtime.stages import EXPLAIN, staged


class Explanations:
    """The explanations of one model; safe in any thread, except `of_row`."""

    def __init__(self, model: RowPredictor) -> None:
        self._model = model
        self._writer: ExplanationWriter | None = None
        if isinstance(model.engine, Explainer):
            self._writer = ExplanationWriter(model.schema.names, model.engine.base, model.classes)

    def check(self, explain: ExplainOption, n_rows: int = 1) -> None:
        """Refuse explanations that the model does not have, and more interactions than an answer may have."""
        self._model.explainer()
        if isinstance(explain, Game):
            self._model.games().check(explain.chosen)
        if isinstance(explain, Interactions):
            check_interactions(self._model, n_rows, MOST_INTERACTIONS)

    def of_row(self, row: Row) -> array[float]:
        """Return the path-dependent contributions [F, K] of one row, on the event loop."""
        return staged(EXPLAIN, self._model.explainer().contributions, row)

    def of_rows(self, rows: Sequence[Row], explain: ExplainOption) -> array[float]:
        """Return the contributions of n rows, [n, F, K]."""
        return staged(EXPLAIN, self._explainer(explain).contributions_many, self._model.table(rows))

    def of_table(self, table: array[float]) -> array[float]:
        """Return the path-dependent contributions [n, F, K] of a table [n, F]."""
        return staged(EXPLAIN, self._model.explainer().contributions_many, table)

    def write(
        self,
        margins: Sequence[float],
        contributions: Sequence[float],
        explain: ExplainOption,
        source: Source,
        moved: Sequence[float] | None = None,
        rows: Sequence[Row] = (),
    ) -> list[bytes]:
        """Return the explanations of n rows as JSON; `moved` [K] is the model's base for rows that have a base margin.

        The `rows` are used if interactions are requested.
        """
        if self._writer is None:
            raise AssertionError("an explanation was computed by an engine that has none")
        if isinstance(explain, Game):
            return self._of_game(explain, margins, contributions, source, moved)
        if not isinstance(explain, Interactions):
            return self._writer.write(margins, contributions, explain, source, moved)
        written = self._writer.write(margins, contributions, True, source, moved)
        k = self._model.engine.n_outputs
        return [
            with_member(each, b"interactions", self._interactions(row, margins[i * k : (i + 1) * k], explain.pairs))
            for i, (each, row) in enumerate(zip(written, rows, strict=True))
        ]

    def _interactions(self, row: Row, margins: Sequence[float], pairs: int) -> dict[str, object]:
        values = interactions_of(self._model, self._model.table([row]), 1, MOST_INTERACTIONS)
        return write_interactions(self._model.schema.names, self._model.classes, margins, values, pairs)

    def write_s(self) -> float:
        """Return the seconds that writing a full explanation takes; 0 for a model without explanations.

        With thousands of features, or many classes, writing takes longer than computing it.
        """
        if self._writer is None:
            return 0.0
        n_outputs = self._model.engine.n_outputs
        margins, contributions = [0.5] * n_outputs, [0.123456789] * (n_outputs * self._model.engine.n_features)
        return shortest(lambda: self.write(margins, contributions, True, "live"))

    def _explainer(self, explain: ExplainOption) -> BackgroundExplainer:
        return self._game(explain).explainer if isinstance(explain, Game) else self._model.explainer()

    def _game(self, game: Game) -> PreparedGame:
        return self._model.games().game(game.chosen)

    def _of_game(
        self,
        game: Game,
        margins: Sequence[float],
        contributions: Sequence[float],
        source: Source,
        moved: Sequence[float] | None,
    ) -> list[bytes]:
        stored = self._game(game)
        base = stored.explainer.base
        if moved is not None:
            base = [own + (to - by) for own, to, by in zip(base, moved, self._model.explainer().base, strict=True)]
        writer = ExplanationWriter(stored.players, base, self._model.classes, stored.members)
        return writer.write(margins, contributions, game.top, source)
