"""`Explanation`: contributions of features to predictions, in the space of the raw margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import ConfigError

if TYPE_CHECKING:
    import shap


ADDITIVITY_LIMIT = 1e-9
"""How far base and contributions may miss a margin, as a share of max(1, |base|, sum of |contributions|)."""


def additivity_gap(
    margins: npt.NDArray[np.float64], contributions: npt.NDArray[np.float64], base: Sequence[float]
) -> float:
    """Return the largest miss of base plus contributions [n, F, K] from finite margins [n, K], as `ADDITIVITY_LIMIT` counts."""
    start = np.asarray(base, dtype=np.float64)
    size = np.maximum(np.maximum(1.0, np.abs(start)), np.sum(np.abs(contributions), axis=1))
    missed = np.abs(start + np.sum(contributions, axis=1) - margins) / size
    return float(np.max(missed[np.isfinite(margins)], initial=0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Contributions of n rows: `base` plus the sum of a row's `values` is its raw margin.

    Exact path-dependent Shapley values of the trees (Lundberg et al. 2020).
    """

    values: npt.NDArray[np.float64]
    """[n, F], or [n, F, K] for a multiclass model."""
    base: float | npt.NDArray[np.float64]
    """The expected margin over the training rows; [K] for a multiclass model."""
    data: npt.NDArray[np.float64]
    """[n, F] the rows explained: categories as codes, missing as NaN."""
    feature_names: list[str]

    def to_shap(self) -> shap.Explanation:
        """Return this explanation as a `shap.Explanation`, for shap's plots; ConfigError when shap is not installed."""
        try:
            import shap  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError("shap is not installed; pip install shap") from error
        n_rows = len(self.values)
        base: Any = np.full(n_rows, self.base) if isinstance(self.base, float) else np.tile(self.base, (n_rows, 1))
        return shap.Explanation(self.values, base_values=base, data=self.data, feature_names=self.feature_names)
