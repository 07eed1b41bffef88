"""`Explanation`: contributions of features to predictions, in the space of the raw margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.feature import Category, Value
from mlrf.core.schema import Schema
from mlrf.model.drawing import RowContributions, waterfall_svg
from mlrf.model.drawing.markup import Markup, element, table
from mlrf.model.feature_groups import FeatureGroups

if TYPE_CHECKING:
    import shap
    from matplotlib.axes import Axes


ADDITIVITY_LIMIT = 1e-9
"""Largest allowed difference of base plus contributions from a margin, as a share of max(1, |base|, sum of |contributions|)."""
_FEATURES_SHOWN = 10
PATH_DEPENDENT = "path-dependent"


def additivity_gap(
    margins: npt.NDArray[np.float64], contributions: npt.NDArray[np.float64], base: Sequence[float]
) -> float:
    """Return the largest difference of base plus contributions [n, F, K] from finite margins [n, K]; see `ADDITIVITY_LIMIT`."""
    start = np.asarray(base, dtype=np.float64)
    size = np.maximum(np.maximum(1.0, np.abs(start)), np.sum(np.abs(contributions), axis=1))
    missed = np.abs(start + np.sum(contributions, axis=1) - margins) / size
    return float(np.max(missed[np.isfinite(margins)], initial=0.0))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Explanation:
    """Contributions of n rows: `base` plus the sum of a row's `values` is its raw margin.

    Exact Shapley values of the trees (Lundberg et al. 2020), of the game that `game` names. `len` is n; an index, slice or
    mask gives the Explanation of those rows.
    """

    values: npt.NDArray[np.float64]
    """[n, F], or [n, F, K] for a multiclass model."""
    base: float | npt.NDArray[np.float64]
    """The expected margin over the training rows, or the mean margin of the background; [K] for a multiclass model. [n], or
    [n, K], where rows have base margins."""
    data: npt.NDArray[np.float64]
    """[n, F] the rows explained: categories as codes, missing as NaN."""
    feature_names: list[str]
    schema: Schema | None = None
    """The schema that gives the meaning of the numbers in `data`; None if it is unknown."""
    classes: list[Category] | None = None
    """The classes in the order of a multiclass model's K outputs; None for other models."""
    interactions: npt.NDArray[np.float64] | None = None
    """[n, F, F], or [n, F, F, K], the interaction values, if they were requested: symmetric, with the main effects of
    features on the diagonal, and the sum over the second axis of features is `values`."""
    game: str = PATH_DEPENDENT
    """What stands for the features that are not known yet: `path-dependent`, the training rows in each branch, or
    `interventional`, the rows of a background."""
    groups: FeatureGroups | None = None
    """The players, if groups of features were explained: `feature_names` are then theirs, and `values` [n, G]."""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Explanation:
        kept: Any = [rows] if isinstance(rows, int | np.integer) else rows
        base = self.base[kept] if self._bases_differ() else self.base  # type: ignore[index]
        pairs = None if self.interactions is None else self.interactions[kept]
        return replace(self, values=self.values[kept], base=base, data=self.data[kept], interactions=pairs)

    def display_data(self) -> npt.NDArray[Any]:
        """Return the explained rows as an array of objects [n, F]: category names, True and False, None for missing.

        Of groups [n, G]: the values of a group's features are one text.
        """
        shown = np.empty((len(self.data), len(self.feature_names)), dtype=object)
        for index, row in enumerate(self.data.tolist()):
            shown[index] = list(self._instance(row).values())
        return shown

    def to_shap(self) -> shap.Explanation:
        """Return this explanation as a `shap.Explanation`, for shap's plots; ConfigError when shap is not installed.

        Its `data` are the numbers by which plots choose colours, its `display_data` the category names and booleans that they
        print.
        """
        try:
            import shap  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError("shap is not installed; pip install shap") from error
        n_rows = len(self.values)
        base: Any = self.base
        if not self._bases_differ():
            base = np.full(n_rows, base) if isinstance(base, float) else np.tile(base, (n_rows, 1))
        return shap.Explanation(
            self.values,
            base_values=base,
            data=self.data if self.groups is None else None,
            display_data=self.display_data(),
            feature_names=self.feature_names,
            output_names=None if self.classes is None else [str(label) for label in self.classes],
        )

    def to_svg(self, row: int = 0, *, output: int | None = None, top: int = _FEATURES_SHOWN) -> str:
        """Return a waterfall chart of one row as an SVG element: the `top` largest contributions and the sum of the others.

        `output` chooses one of a multiclass model's K outputs (the largest margin's). InvalidRequestError when there is no
        such row or output.
        """
        chosen = self._output(row, output)
        return waterfall_svg(self.row_contributions(row, chosen), top, self._title(row, chosen))

    def plot(
        self, row: int = 0, *, output: int | None = None, top: int = _FEATURES_SHOWN, ax: Axes | None = None
    ) -> Axes:
        """Draw the waterfall chart of one row with matplotlib and return its axes; arguments and errors as of `to_svg`.

        ConfigError when matplotlib is not installed.
        """
        from mlrf.model.drawing.matplotlib_waterfall import draw_waterfall  # noqa: PLC0415

        chosen = self._output(row, output)
        return draw_waterfall(self.row_contributions(row, chosen), top, self._title(row, chosen), ax)

    def row_contributions(self, row: int, output: int = 0) -> RowContributions:
        """Return the contributions to one output of one row, in the form for drawings."""
        values = self.values[row] if self.values.ndim == 2 else self.values[row, :, output]  # noqa: PLR2004
        base = float(self._bases_of(row)[output])
        return RowContributions(
            base, values.tolist(), base + float(values.sum()), self._instance(self.data[row].tolist())
        )

    def _bases_differ(self) -> bool:
        """Return whether each row has a base of its own."""
        return np.ndim(self.base) == self.values.ndim - 1

    def _bases_of(self, row: int) -> npt.NDArray[np.float64]:
        """Return the bases [K] of a row."""
        return np.atleast_1d(self.base[row] if self._bases_differ() else self.base)  # type: ignore[index]

    def _output(self, row: int, output: int | None) -> int:
        """Return the output to show, after checking that it and the row exist."""
        if not -len(self) <= row < len(self):
            raise InvalidRequestError(f"row {row}: the explanation has {len(self)} rows, numbered from 0")
        bases = self._bases_of(row)
        if output is None:
            return int(np.argmax(bases + self.values[row].reshape(-1, len(bases)).sum(axis=0)))
        if not 0 <= output < len(bases):
            raise InvalidRequestError(f"output {output}: the model has {len(bases)} outputs, numbered from 0")
        return output

    def _title(self, row: int, output: int) -> str:
        if self.values.ndim == 2:  # noqa: PLR2004
            return f"row {row} of {len(self)}: contributions to the margin"
        name = f"output {output}" if self.classes is None else f"class {self.classes[output]}"
        return f"row {row} of {len(self)}: contributions to the margin of {name}"

    def _instance(self, row: list[float]) -> dict[str, Value]:
        if self.schema is None:
            return dict(zip(self.feature_names, row, strict=True))
        instance = self.schema.instance(row)
        return instance if self.groups is None else self.groups.values(instance)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.values.shape))
        largest = ", ".join(name for name, _ in self._ranked()[:3])
        return f"<mlrf Explanation of {len(self)} rows, values {shape}; largest on average: {largest}>"

    def _repr_html_(self) -> str:
        """Return the features that contribute most on average, and the waterfall chart of the first row, as HTML."""
        ranked = self._ranked()[:_FEATURES_SHOWN]
        header = ["feature", f"mean |contribution| of {len(self)} rows"]
        parts: list[Markup] = [table([[name, f"{mean:.6g}"] for name, mean in ranked], header)]
        if len(self):
            output = self._output(0, None)
            title = self._title(0, output)
            parts = [
                element("p", title),
                waterfall_svg(self.row_contributions(0, output), _FEATURES_SHOWN, title),
                *parts[len(self) == 1 :],
            ]
        return element("div", *parts)

    def _ranked(self) -> list[tuple[str, float]]:
        """Return the features by mean |contribution| over rows and outputs, descending."""
        if not len(self):
            return [(name, 0.0) for name in self.feature_names]
        sizes = np.abs(self.values).mean(axis=tuple(i for i in range(self.values.ndim) if i != 1))
        return [(self.feature_names[i], float(sizes[i])) for i in np.argsort(-sizes, kind="stable")]
