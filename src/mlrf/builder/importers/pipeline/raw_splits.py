"""All splits of a model as splits of raw columns, found by applying the pipeline to probe values.

Three kinds of raw column: categories that encoders list (each is tried), numbers (cut points are found), and codes that all
steps pass through to a model that splits them by category itself.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from mlrf.builder.importers.imported_model import Band, ImportedModel
from mlrf.builder.importers.pipeline.cut_points import CutPoints, Limit, neighbours
from mlrf.builder.importers.pipeline.edge_values import NO_CODE, edge_values
from mlrf.builder.importers.pipeline.lineage import Lineage
from mlrf.builder.importers.pipeline.matrix import Preprocessing
from mlrf.builder.importers.pipeline.number_ranges import AnsweredNumbers
from mlrf.builder.importers.pipeline.raw_table import RawTable
from mlrf.builder.importers.pipeline.raw_tables import hashed_columns
from mlrf.builder.importers.pipeline.splits import (
    CategorySplit,
    FoundSplits,
    RawSplit,
    category_split,
    distinct_splits,
    limits_of,
    number_split,
    sides,
)
from mlrf.builder.importers.pipeline.zero_cuts import find_zero_cuts
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import F64, I64, NUMERIC


class RawSplits:
    """Applies the preprocessing to every value at which the result of a split may change."""

    def __init__(self, model: ImportedModel, lineage: Lineage, table: RawTable, preprocessing: Preprocessing) -> None:
        """Take a model over the matrix, and the raw columns behind it."""
        self._model, self._forest = model, model.forest
        self._lineage, self._table, self._preprocessing = lineage, table, preprocessing
        self._names = [table.columns[raw].name for raw in table.used]
        feature_of = {raw: feature for feature, raw in enumerate(table.used)}
        self._feature_of_column = [feature_of[column.raw] for column in lineage.columns]
        self._categories = [table.columns[raw].categories for raw in table.used]
        nodes, self._split_of = distinct_splits(self._forest)
        self._nodes = nodes.tolist()
        self._coded = self._coded_features()
        answered = AnsweredNumbers(model, lineage, preprocessing, self._feature_of_column, self._names)
        self._partial, self._background = answered.partial, answered.background
        self._cuts = CutPoints(
            preprocessing,
            self._background,
            self._names,
            [f for f, known in enumerate(self._categories) if known is None],
            partial=answered.ranges(),
            inexact=[column for column, behind in enumerate(lineage.columns) if not behind.is_exact],
        )
        self._missing_up_to = self._find_missing()

    def find(self) -> FoundSplits:
        """Return the splits; UnsupportedModelError names what cannot be folded."""
        points = self._points()
        seen = self._seen(points)
        self._check_steps(points, seen)
        missing, takes_missing = self._at(np.nan)
        unknown, takes_unknown = self._at(NO_CODE)
        splits = [self._split(node, points, seen, missing, unknown) for node in self._nodes]
        columns = self._forest.feature[self._nodes].tolist()
        accepted = self._accepted() if self._model.is_limited_to_float32 else {}
        return FoundSplits(
            splits=splits,
            split_of=self._split_of,
            features=np.array([self._feature_of_column[column] for column in columns], np.int64),
            raw_features=tuple(
                self._feature(feature, takes_missing[feature], accepted.get(feature))
                for feature in range(len(self._names))
            ),
            known_codes_only=tuple(
                feature
                for feature, categories in enumerate(self._categories)
                if categories is not None and not takes_unknown[feature]
            ),
            edge_values=edge_values(points, self._categories, self._coded, self._bands()),
            largest_number=min(self._cuts.largest.values(), default=1e37 if self._partial else 1.0),
            refuses_beyond_float32=self._model.is_limited_to_float32 or not self._cuts.takes_all_numbers(),
            bands=self._bands(),
        )

    def _accepted(self) -> dict[int, tuple[float, float]]:
        """Return, by feature, the numbers for which a model that is limited to float32 gets such numbers, if not for all."""
        return self._cuts.within_float32(
            [
                (feature, column)
                for column, feature in enumerate(self._feature_of_column)
                if self._categories[feature] is None and feature not in self._coded
            ]
        )

    def _find_missing(self) -> dict[Limit, float]:
        """Return the greatest number for which each column is missing, of those that may be."""
        pairs = [
            (feature, column)
            for feature, columns in self._partial.items()
            if self._cuts.range_of(feature).may_be_missing
            for column in columns
        ]
        if not pairs:
            return {}
        try:
            return self._cuts.find_missing(pairs)
        except ValueError as error:
            names = ", ".join(repr(self._names[feature]) for feature in dict.fromkeys(feature for feature, _ in pairs))
            raise UnsupportedModelError(
                f"the pipeline's steps refuse some numbers of {names} that are between numbers that they answer ({error}), "
                "which cannot be folded; apply the function (log, sqrt) before sending rows, and build from the steps after it"
            ) from error

    def _bands(self) -> dict[int, tuple[Band, ...]]:
        found: dict[int, list[Band]] = {}
        cuts = {**self._found_cuts, **self._missing_up_to}
        for limit, (low, high) in sorted(self._cuts.bands.items()):
            if low < high:
                found.setdefault(limit.feature, []).append(Band(low, cuts[limit], high))
        return {feature: tuple(sorted(set(bands))) for feature, bands in found.items()}

    def _coded_features(self) -> set[int]:
        """Return the features whose values the model itself uses unchanged as category codes."""
        found = set()
        for node in self._nodes:
            column = int(self._forest.feature[node])
            if self._forest.category_set[node] != NUMERIC and self._lineage.columns[column].is_raw:
                found.add(self._feature_of_column[column])
        found |= {self._feature_of_column[column] for column in hashed_columns(self._model, self._lineage)}
        for feature in found:
            behind = [c for c, f in zip(self._lineage.columns, self._feature_of_column, strict=True) if f == feature]
            if not all(column.is_raw for column in behind) or self._categories[feature] is not None:
                raise UnsupportedModelError(
                    f"the model splits {self._names[feature]!r} by category, but a step reads the same column as a number; "
                    "give the model one of the two"
                )
        return found

    def _points(self) -> list[F64]:
        """Return, by feature, the values to try: codes, or the ends of the intervals within which no side changes."""
        limits: dict[int, set[Limit]] = {}
        for node in self._nodes:
            for limit in self._limits(node):
                limits.setdefault(limit.feature, set()).add(limit)
        found = self._cuts.find(sorted(limit for of_feature in limits.values() for limit in of_feature))
        self._found_cuts = found
        self._zero_cuts = find_zero_cuts(
            self._cuts, self._found_cuts, self._preprocessing.zero_limits, self._are_missing, self._names
        )
        points = []
        for feature, raw in enumerate(self._table.used):
            categories = self._categories[feature]
            if categories is not None:
                points.append(np.arange(len(categories), dtype=np.float64))
                continue
            cuts = {found[limit] for limit in limits.get(feature, ())} | self._named_cuts(raw)
            cuts |= {cut for limit, cut in self._missing_up_to.items() if limit.feature == feature}
            cuts |= {cut for (owner, _), changes in self._zero_cuts.items() if owner == feature for cut in changes}
            reach = self._cuts.range_of(feature)
            points.append(np.array([*sorted(cut for cut in cuts if reach.least <= cut < reach.most), reach.most]))
        return points

    def _limits(self, node: int) -> list[Limit]:
        column = int(self._forest.feature[node])
        feature = self._feature_of_column[column]
        lineage = self._lineage.columns[column]
        if self._categories[feature] is not None or feature in self._coded or not lineage.is_monotone:
            return []
        in_float32 = self._forest.inputs == "float32"
        found = [Limit(feature, column, limit, in_float32) for limit in limits_of(self._forest, node)]
        zero = self._preprocessing.zero_limits
        return found + [Limit(feature, column, limit, in_float32=False) for limit in zero]

    def _are_missing(self, limit: Limit, numbers: F64) -> F64:
        """Return whether the model reads the column of a limit as missing for each number of its feature."""
        rows = np.repeat(self._background[None], len(numbers), axis=0)
        rows[:, limit.feature] = numbers
        return np.isnan(self._preprocessing.matrix(rows).seen[:, limit.column])

    def _named_cuts(self, raw: int) -> set[float]:
        """Return the cut points in the steps themselves: edges of bins, and single numbers that an encoder lists."""
        use = self._lineage.uses[raw]
        if use is None:
            return set()
        edges = {_below(float(edge)) for listed in use.bin_edges for edge in listed}
        values = {float(value) for listed in use.categories for value in listed if value == value}  # noqa: PLR0124  not NaN
        return edges | values | {_below(value) for value in values}

    def _seen(self, points: list[F64]) -> list[dict[int, F64]]:
        """Return, by feature, the model's input at the feature's points in each of its columns."""
        features = np.concatenate([np.full(len(values), feature) for feature, values in enumerate(points)])
        rows, _ = self._cuts.rows(features.astype(np.int64), np.concatenate(points))
        columns: list[list[int]] = [[] for _ in points]
        for column, feature in enumerate(self._feature_of_column):
            columns[feature].append(column)
        seen = [{column: np.empty(len(values)) for column in columns[f]} for f, values in enumerate(points)]
        for part in self._preprocessing.chunks(len(rows)):
            matrix = self._preprocessing.matrix(rows[part]).seen
            for feature, values in enumerate(points):
                here = slice(part.start, min(part.stop, len(values)))
                for column in columns[feature] if here.start < here.stop else ():
                    seen[feature][column][here] = matrix[: here.stop - here.start, column]
        return seen

    def _check_steps(self, points: list[F64], seen: list[dict[int, F64]]) -> None:
        """Check columns that should be constant between their points with numbers near each point."""
        for feature, values in enumerate(points):
            columns = [c for c in seen[feature] if self._is_stepped(feature, c)]
            if not columns:
                continue
            reach = self._cuts.range_of(feature)
            numbers = np.unique(np.clip(np.concatenate([neighbours(values[:-1]), values]), reach.least, reach.most))
            rows, row_indices = self._cuts.rows(np.full(len(numbers), feature, np.int64), numbers)
            at = np.searchsorted(values, numbers)
            for part in self._preprocessing.chunks(len(rows)):
                matrix = self._preprocessing.matrix(rows[part]).seen[:, columns]
                expected = np.column_stack([seen[feature][column] for column in columns])[at[row_indices[part]]]
                if not np.array_equal(matrix, expected, equal_nan=True):
                    raise UnsupportedModelError(
                        f"the pipeline's bins or encoded values of {self._names[feature]!r} do not match the boundaries in "
                        "its steps; please report this pipeline",
                        feature=self._names[feature],
                    )

    def _is_stepped(self, feature: int, column: int) -> bool:
        return self._categories[feature] is None and self._lineage.columns[column].is_stepped

    def _at(self, value: float) -> tuple[F64, list[bool]]:
        """Return the model's input with each feature in turn set to a value [F, D], and whether steps and model accept it."""
        n_features = len(self._names)
        rows = np.repeat(self._background[None], n_features, axis=0)
        np.fill_diagonal(rows, value)
        taken = [True] * n_features
        if not self._preprocessing.answers(rows):
            taken = [self._preprocessing.answers(row[None]) for row in rows]
            rows[~np.array(taken)] = self._background
        seen = self._preprocessing.matrix(rows).seen
        for column, feature in enumerate(self._feature_of_column):
            if np.isnan(seen[feature, column]) and not self._model.features[column].nullable:
                taken[feature] = False
        return seen, taken

    def _split(self, node: int, points: list[F64], seen: list[dict[int, F64]], missing: F64, unknown: F64) -> RawSplit:
        column = int(self._forest.feature[node])
        feature = self._feature_of_column[column]
        is_missing_left, is_unknown_left = sides(
            self._forest, node, np.array([missing[feature, column], unknown[feature, column]])
        )
        if feature in self._coded:
            codes = self._forest.category_codes(int(self._forest.category_set[node])).tolist()
            return CategorySplit(tuple(codes), codes_go_left=True, missing_goes_left=is_missing_left)
        values = seen[feature][column]
        if self._categories[feature] is not None:
            known = sides(self._forest, node, values)
            return category_split(known, unknown=is_unknown_left, missing=is_missing_left)
        chosen = self._own_points(node, column, points[feature])
        at_ends = sides(self._forest, node, values[chosen])
        return number_split(points[feature][chosen].tolist(), at_ends, missing=is_missing_left)

    def _own_points(self, node: int, column: int, points: F64) -> I64:
        """Return the points of a feature at which a node's result may change, including the last one."""
        if not self._lineage.columns[column].is_monotone:
            return np.arange(len(points))
        cuts = [self._found_cuts[limit] for limit in self._limits(node)]
        cuts += [cut for limit, cut in self._missing_up_to.items() if limit.column == column]
        cuts += self._zero_cuts.get((self._feature_of_column[column], column), [])
        positions = np.searchsorted(points, [cut for cut in cuts if points[0] <= cut < points[-1]])
        return np.unique([*positions.tolist(), len(points) - 1])

    def _feature(self, feature: int, takes_missing: bool, accepted: tuple[float, float] | None) -> Feature:
        name, categories = self._names[feature], self._categories[feature]
        if categories is not None:
            example = categories[0] if categories else None
            return Feature(name, Kind.CATEGORICAL, tuple(categories), nullable=takes_missing, example=example)
        if feature in self._coded:
            column = self._feature_of_column.index(feature)
            return msgspec.structs.replace(self._model.features[column], name=name, nullable=takes_missing)
        reach = self._cuts.range_of(feature)
        least, most = accepted or (-math.inf, math.inf)
        return Feature(
            name,
            nullable=takes_missing,
            example=float(self._background[feature]),
            least=max(least, reach.least if reach.is_bounded_below else -math.inf),
            most=min(most, reach.most if reach.is_bounded_above else math.inf),
        )


def _below(value: float) -> float:
    return float(np.nextafter(value, -np.inf))
