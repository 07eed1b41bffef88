"""Predicts tables (arrays, data frames and lists of rows) and returns arrays, with the same bits as a server's answers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError
from mlrf.core.feature import Category
from mlrf.core.leniency import STRICT, Leniency, OnUnknownFeature, UnknownCategories
from mlrf.engines.interface import Engine
from mlrf.model.explanation_kinds import GAME_OPTIONS, ExplainGames, GameOption, given_options
from mlrf.model.row_predictor import RowPredictor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mlrf.model.curve import Curve
    from mlrf.model.explanation import Explanation

MOST_THREADS = 1 << 16
"""More than any machine has processors, and within the integers of the kernel."""

MOST_INTERACTIONS = 1 << 27
"""Interaction values in an Explanation: a gigabyte."""


class TableModel:
    """A bundle and an engine, ready to predict tables of rows.

    `schema` names the features in their order; `classes` are a classifier's labels in the order of its outputs, else None;
    `bundle` and `engine` say what is loaded.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self.engine = engine
        self.schema = bundle.schema
        self.classes: list[Category] | None = bundle.manifest.classes
        self._n_outputs = bundle.manifest.n_outputs
        self._rows = RowPredictor(bundle, engine)
        self._one = None if bundle.link.is_vector or self._n_outputs > 1 else bundle.link.scalar()
        self._many = bundle.link.vector()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.bundle.name

    @property
    def version(self) -> str:
        """The version of the bundle: a digest of 64 hex digits, of which answers and logs show 12."""
        return self.bundle.version

    def margin(
        self,
        rows: Any,
        leniency: Leniency = STRICT,
        *,
        threads: int = 1,
        unknown_features: OnUnknownFeature | None = None,
        unknown_categories: UnknownCategories | None = None,
        base_margin: Any = None,
    ) -> npt.NDArray[np.float64]:
        """Return the raw margins of rows, [n] or [n, K].

        `rows` is a NumPy array [n, F] (categories as codes), a pandas, Polars or Arrow table, anything that exports Arrow's C
        stream, or a list of instances (tables and named instances align by name, categories by value). A value that its feature
        does not accept raises InvalidRequestError, which names row, feature and value. `unknown_features="ignore"` skips
        columns that are not features; `unknown_categories="missing"` treats an unknown category as missing. `base_margin` [n]
        or [n, K], or a number for all rows, is where the margins start: XGBoost's `DMatrix(base_margin=…)`, LightGBM's
        `init_score`; models of other libraries have none. `threads` is the largest number of threads that the tree engine
        uses, never more than there are processors (default: 1); the numbers do not depend on it. ConfigError if it is below 1.
        """
        threads = _checked(threads)
        table = self._read(rows, leniency, unknown_features, unknown_categories)
        return self._margins(table, base_margin, threads)

    def predict(
        self,
        rows: Any,
        leniency: Leniency = STRICT,
        *,
        threads: int = 1,
        unknown_features: OnUnknownFeature | None = None,
        unknown_categories: UnknownCategories | None = None,
        base_margin: Any = None,
    ) -> npt.NDArray[np.float64]:
        """Return what the training library's `predict` returns for rows, [n] or [n, K]; arguments as of `margin`."""
        table = self._read(rows, leniency, unknown_features, unknown_categories)
        threads = _checked(threads)
        if base_margin is None and self._one is not None and len(table) == 1:
            found = self.engine.margins(table.data, threads)
            found[0] = self._one(found[0])
            return self._as_array(found)
        margins = self._margins(table, base_margin, threads)
        from mlrf.model.link_arrays import predictions_of  # noqa: PLC0415  with NumPy

        return predictions_of(self.bundle.link, margins)

    def probabilities(
        self,
        rows: Any,
        leniency: Leniency = STRICT,
        *,
        unknown_features: OnUnknownFeature | None = None,
        unknown_categories: UnknownCategories | None = None,
        base_margin: Any = None,
    ) -> npt.NDArray[np.float64]:
        """Return the probability of each class, [n, classes] in the order of `classes`; arguments as of `margin`.

        ConfigError when the model is not a classifier.
        """
        import numpy as np  # noqa: PLC0415

        classes = self._known_classes()
        predictions = self.predict(
            rows,
            leniency,
            unknown_features=unknown_features,
            unknown_categories=unknown_categories,
            base_margin=base_margin,
        )
        return np.array([self._rows.probabilities_of(each) for each in predictions.tolist()]).reshape(-1, len(classes))

    def label(
        self,
        rows: Any,
        leniency: Leniency = STRICT,
        *,
        unknown_features: OnUnknownFeature | None = None,
        unknown_categories: UnknownCategories | None = None,
        base_margin: Any = None,
    ) -> list[Category]:
        """Return the predicted class of each row; arguments and errors as of `probabilities`."""
        classes = self._known_classes()
        predictions = self.predict(
            rows,
            leniency,
            unknown_features=unknown_features,
            unknown_categories=unknown_categories,
            base_margin=base_margin,
        )
        return [classes[index] for index in self._rows.class_indices(predictions.tolist())]

    def explain(
        self,
        rows: Any,
        leniency: Leniency = STRICT,
        *,
        threads: int = 1,
        interactions: bool = False,
        unknown_features: OnUnknownFeature | None = None,
        unknown_categories: UnknownCategories | None = None,
        base_margin: Any = None,
        **games: Unpack[ExplainGames],
    ) -> Explanation:
        """Return the contributions of every feature to the raw margin of each row; arguments as of `margin`.

        Exact path-dependent Shapley values, and with `interactions` the interaction values of every pair of features. With a
        `background`, rows of any form or True for those in the bundle, exact interventional ones against all of its rows;
        `base` is then their mean margin. `groups`, {name: [feature, …]} or True for those in the bundle, are whole players,
        whose values are those of the game of groups and the features in none, not the sums of their features' values.
        NotExplainableError when the engine cannot explain, BatchTooLargeError when the rows have more than `MOST_INTERACTIONS`.
        """
        from mlrf.model.given_game import explain_rows, given_game  # noqa: PLC0415

        threads = _checked(threads)
        given = given_options("explain", games)
        if interactions and given:
            names = " and ".join(option.name for option in GAME_OPTIONS)
            raise ConfigError(f"interactions are path-dependent, of features: leave out interactions, or {names}")
        self._rows.explainer()
        table = self._read(rows, leniency, unknown_features, unknown_categories)

        def read(option: GameOption, value: Any) -> Any:
            is_rows = option.document is None
            return self._read(value, leniency, unknown_features, unknown_categories).data if is_rows else value

        found = explain_rows(self._rows, given_game(self._rows, given, read), table, threads)
        from dataclasses import replace  # noqa: PLC0415  a server's start imports this module, and no dataclass

        if base_margin is not None:
            # The base of each row moves by as much as its margin.
            moved = self._margins(table, base_margin, threads) - self._margins(table, None, threads)
            found = replace(found, base=found.base + moved)
        if not interactions:
            return found
        import numpy as np  # noqa: PLC0415

        from mlrf.model.interactions import interactions_of  # noqa: PLC0415  few callers ask

        pairs = np.frombuffer(
            interactions_of(self._rows, table.data, len(table), MOST_INTERACTIONS, threads), np.float64
        )
        shape = found.values.shape
        return replace(found, interactions=pairs.reshape(shape[:2] + shape[1:]))

    def leaves(
        self,
        rows: Any,
        leniency: Leniency = STRICT,
        *,
        unknown_features: OnUnknownFeature | None = None,
        unknown_categories: UnknownCategories | None = None,
    ) -> npt.NDArray[np.int32]:
        """Return the number of the leaf that each row reaches in each tree, [n, trees], as the training library numbers them.

        That is LightGBM's and XGBoost's `predict(pred_leaf=True)`, scikit-learn's `apply` (its last two axes as one) and
        CatBoost's `calc_leaf_indexes`. Arguments as of `margin`; InvalidRequestError for a model whose library numbers no
        leaves.
        """
        import numpy as np  # noqa: PLC0415

        leaves = self._rows.leaves()
        table = self._read(rows, leniency, unknown_features, unknown_categories)
        return np.frombuffer(leaves.flat(table.data), dtype=np.float64).astype(np.int32).reshape(-1, leaves.n_trees)

    def curve(self, row: Any, features: str | Sequence[str], leniency: Leniency = STRICT) -> Curve:
        """Return the model's answers for a row while one feature takes every value, or two features every pair of values.

        `row` is one instance, by name or in schema order. Exact: one point for each interval between thresholds, each category
        and missing. NoThresholdsError for a graph of operators, BatchTooLargeError for a grid of too many points.
        """
        from mlrf.model.curve import plan_sweep, score_sweep  # noqa: PLC0415

        (values,) = self._read([row], leniency, None, None).tolist()
        names = [features] if isinstance(features, str) else list(features)
        return score_sweep(
            self._rows, plan_sweep(self._rows, values, names, msgspec.structs.replace(leniency, caller="python"))
        )

    def _margins(self, table: npt.NDArray[np.float64], base_margin: Any, threads: int) -> npt.NDArray[np.float64]:
        """Return the margins of a table, [n] or [n, K]."""
        if base_margin is None:
            found = self.engine.margins(table.data, threads)
        else:
            from mlrf.model.base_margins import starts_of  # noqa: PLC0415

            found = self._rows.margins_from(table.data, starts_of(base_margin, len(table), self._n_outputs))
        margins = self._as_array(found)
        return margins if self._n_outputs == 1 else margins.reshape(-1, self._n_outputs)

    @cached_property
    def _as_array(self) -> Callable[[array[float]], npt.NDArray[np.float64]]:
        """Return an array of the numbers of a buffer; an import in each call takes a twentieth of a small model's row."""
        import numpy as np  # noqa: PLC0415

        return np.frombuffer

    def _read(
        self,
        rows: Any,
        leniency: Leniency,
        unknown_features: OnUnknownFeature | None,
        unknown_categories: UnknownCategories | None,
    ) -> npt.NDArray[np.float64]:
        leniency = Leniency(
            unknown_features or leniency.unknown_features,
            unknown_categories or leniency.unknown_categories,
            "python" if leniency.caller == "http" else leniency.caller,
            natural=True,
        )
        return self._read_rows(rows, leniency)

    @cached_property
    def _read_rows(self) -> Callable[[Any, Leniency], npt.NDArray[np.float64]]:
        from mlrf.model.instance_rows import instance_rows  # noqa: PLC0415
        from mlrf.model.table_input import read_rows  # noqa: PLC0415  with NumPy, which a server does without

        return partial(read_rows, self.schema, reader=instance_rows(self.schema))

    def _known_classes(self) -> list[Category]:
        if self.classes is None:
            raise ConfigError(f"{self.name} has no classes (its task is {self.bundle.manifest.task}); call predict")
        return self.classes


def _checked(threads: int) -> int:
    """Return a number of threads that the kernel can take; ConfigError if it is not a whole number from 1 up."""
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be a whole number from 1 up, not {threads!r}; leave it out for one thread")
    return min(threads, MOST_THREADS)
