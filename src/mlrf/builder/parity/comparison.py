"""Compares two sets of answers: the limits of their differences, and the message that says where they differ.

1. Margins must be within 1e-6 of max(|margin|, mean |margin|).
2. Margins must also be within the rounding error of the sum: T trees added in any order differ by at most (T - 1) u sum
   max|leaf| from the exact sum, and by twice that from another order. No correct export exceeds this, but a wrong branch does,
   unless its leaf rounds to the same sum. u is 2^-53, or 2^-24 if the library adds in float32.
3. Predictions, which follow from the margins by the link, must be within 1e-9, which is the conditioning of `exp`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlrf.builder.parity.golden_rows import KINDS, GoldenRows
from mlrf.core.errors import ParityError
from mlrf.core.forest import F64, LEAF, Bool, Forest, Precision
from mlrf.core.manifest import ParityRows
from mlrf.core.schema import Schema

MARGIN_LIMIT = 1e-6
PREDICTION_LIMITS: dict[Precision, float] = {"float64": 1e-9, "float32": 1e-6}
"""By the precision of the library: its link in float32 has no more digits than that."""
_UNIT_ROUNDOFF: dict[Precision, float] = {"float64": 2.0**-53, "float32": 2.0**-24}
_SHOWN_FEATURES = 12


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The comparison of two sets of answers: which rows differ, which are equal to the bit, and the differences."""

    off: Bool
    """[n]"""
    equal: Bool
    """[n]"""
    difference: F64
    """[n] the largest over the outputs; 0 if both are the same infinity."""


def lowest_precision(forest: Forest) -> Precision:
    """Return the lowest precision in which a forest's outputs are summed."""
    return "float32" if any(forest.sums_in_float32) else "float64"


def rounding_limit(forest: Forest) -> float:
    """Return the greatest difference between two orders of adding up a forest's leaves."""
    leaf = forest.feature == LEAF
    largest = np.maximum.reduceat(np.where(leaf, np.abs(forest.value), 0.0), forest.tree_offsets[:-1])
    total = float(np.sum(largest)) + float(np.sum(np.abs(forest.base)))
    # Two more roundings: base and divisor.
    return (
        2.0
        * (forest.n_trees + 1)
        * _UNIT_ROUNDOFF[lowest_precision(forest)]
        * total
        * abs(forest.scale)
        / forest.divisor
    )


def compare(expected: F64, got: F64, *, relative: float, absolute: float = np.inf) -> Verdict:
    """Compare answers [n, K] with the expected ones: within `relative` of max(|x|, mean |x|) and within `absolute`."""
    same = (expected == got) | (np.isnan(expected) & np.isnan(got))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(expected - got))
        size = np.abs(expected)
        finite = np.isfinite(expected)
        mean = float(np.mean(size[finite])) if np.any(finite) else 0.0
        limit = np.minimum(relative * np.maximum(size, mean), absolute)
        # The difference between NaN and a number exceeds every limit.
        off = ~same & ~(difference <= np.where(finite, limit, 0.0))
    return Verdict(np.any(off, axis=1), np.all(same, axis=1), np.max(difference, axis=1))


def report(golden: GoldenRows, verdict: Verdict) -> dict[str, ParityRows]:
    """Return the result of each kind of golden rows."""
    parity = {}
    for number, kind in enumerate(KINDS):
        rows = golden.kinds == number
        if np.any(rows):
            largest = float(np.max(verdict.difference[rows]))
            parity[kind] = ParityRows(int(np.sum(rows)), int(np.sum(verdict.equal[rows])), largest)
    return parity


def refuse(
    what: str, library: str, golden: GoldenRows, verdict: Verdict, expected: F64, got: F64, schema: Schema
) -> ParityError:
    """Return the error that says which kinds of rows differ, how many, and the worst of them."""
    counts = {
        kind: int(np.sum(verdict.off & (golden.kinds == number)))
        for number, kind in enumerate(KINDS)
        if np.any(verdict.off & (golden.kinds == number))
    }
    gaps = np.where(verdict.off, np.nan_to_num(verdict.difference, nan=np.inf), -1.0)
    worst = int(np.argmax(gaps))
    row = dict(zip(schema.names, golden.rows.dense(worst, worst + 1)[0].tolist(), strict=True))
    shown_row = ", ".join(f"{name}={value!r}" for name, value in list(row.items())[:_SHOWN_FEATURES])
    more = f" and {len(row) - _SHOWN_FEATURES} more" if len(row) > _SHOWN_FEATURES else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    answers = [[repr(x) for x in side[worst].tolist()] for side in (expected, got)]
    return ParityError(
        f"the exported model's {what} differs from {library}'s on {int(np.sum(verdict.off))} of {len(golden.rows)} golden rows "
        f"({kinds}); the worst is a {KINDS[golden.kinds[worst]]} row: {library} returns {', '.join(answers[0])}, the export "
        f"{', '.join(answers[1])}, for {shown_row}{more}. Nothing was written; please report this model",
        rows_off=counts,
        worst={"features": {k: repr(v) for k, v in row.items()}, "expected": answers[0], "got": answers[1]},
    )
