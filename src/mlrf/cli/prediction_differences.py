"""`Differences`: how far the predictions of two models are apart, over any number of rows in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
"""Quantiles of the absolute differences, by the name of their limit."""
LIMITS = (*QUANTILES, "labels", "contributions")
"""What `--fail-above NAME=LIMIT` can name."""
_EXACT = 1 << 20
"""Up to so many differences their quantiles are exact."""
_SHIFT = 44
"""Bits of a float64 that a bucket does not distinguish: buckets are less than 0.4 % wide."""
_BUCKETS = 1 << (63 - _SHIFT)


class Differences:
    """Absolute differences of finite predictions; beyond a million, their quantiles are the upper ends of narrow buckets."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._counts: npt.NDArray[np.int64] | None = None
        self._compared = self._not_comparable = self._equal = 0
        self._sums = [0.0, 0.0]
        self._largest = 0.0

    def add(self, old: Array, new: Array) -> None:
        """Add predictions of the same rows by both models."""
        finite = np.isfinite(old) & np.isfinite(new)
        self._not_comparable += int(np.sum(np.isfinite(old) != np.isfinite(new)))
        old, new = old[finite], new[finite]
        apart = np.abs(old - new)
        self._compared += len(apart)
        self._equal += int(np.sum(apart == 0.0))
        self._sums = [self._sums[0] + float(old.sum()), self._sums[1] + float(new.sum())]
        self._largest = max(self._largest, float(apart.max(initial=0.0)))
        self._parts.append(apart)
        if self._compared > _EXACT:
            self._to_buckets()

    def summary(self) -> dict[str, Any]:
        """Return what was found by the names that `mlrf diff --json` prints."""
        if not self._compared:
            return {"compared": 0, "not_comparable": self._not_comparable}
        quantiles = {f"{name}_difference": self._quantile(share) for name, share in QUANTILES.items()}
        return {
            "compared": self._compared,
            "not_comparable": self._not_comparable,
            "equal": self._equal,
            "mean_old": self._sums[0] / self._compared,
            "mean_new": self._sums[1] / self._compared,
            **quantiles,
        }

    def _quantile(self, share: float) -> float:
        if share == 1.0:
            return self._largest
        rank = min(self._compared - 1, int(self._compared * share))
        if self._counts is None:
            return float(np.partition(np.concatenate(self._parts), rank)[rank])
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank, side="right"))
        upper = float(np.array([bucket << _SHIFT | (1 << _SHIFT) - 1], dtype=np.int64).view(np.float64)[0])
        return min(upper, self._largest) if bucket else 0.0

    def _to_buckets(self) -> None:
        if self._counts is None:
            self._counts = np.zeros(_BUCKETS, np.int64)
        for part in self._parts:
            self._counts += np.bincount(part.view(np.int64) >> _SHIFT, minlength=_BUCKETS)
        self._parts = []


class ContributionShift:
    """How far the features' shares of the sum of |contribution| are apart: 0 if equal, 1 if no feature contributes to both."""

    def __init__(self) -> None:
        self._sums: tuple[dict[str, float], dict[str, float]] = ({}, {})

    def add(self, side: int, names: list[str], values: Array) -> None:
        """Add contributions [n, F] or [n, F, K] of the old (0) or new (1) model."""
        axes = tuple(axis for axis in range(values.ndim) if axis != 1)
        for name, total in zip(names, np.abs(values).sum(axis=axes).tolist(), strict=True):
            self._sums[side][name] = self._sums[side].get(name, 0.0) + total

    def summary(self) -> dict[str, Any]:
        """Return the shift, and the features whose shares moved most, as [old, new]."""
        old, new = ({name: value / (sum(each.values()) or 1.0) for name, value in each.items()} for each in self._sums)
        names = sorted({*old, *new}, key=lambda name: (-abs(old.get(name, 0.0) - new.get(name, 0.0)), name))
        shares = {name: [old.get(name, 0.0), new.get(name, 0.0)] for name in names}
        shift = sum(abs(before - after) for before, after in shares.values()) / 2
        return {"contribution_shift": shift, "moved_shares": {name: shares[name] for name in names[:5]}}
