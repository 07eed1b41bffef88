from array import array
from collections.abc import Sequence

Row = Sequence[float]
Rows = bytes | bytearray | memoryview | array  # type: ignore[type-arg]

class ForestFileError(ValueError):
    """The file is not a forest file, not of this version, or not sound."""

class Forest:
    """A forest file, mapped: scores and SHAP values of its rows."""

    def __init__(self, path: str, level: str | None = None) -> None: ...
    def margin(self, row: Row | Rows) -> list[float]:
        """Return the K raw margins of one row: a list, a tuple, or a buffer of float64 or float32."""
    def margins(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the raw margins of n rows, [n, K] row-major; the bits do not depend on `threads`."""
    def contributions(self, row: Row | Rows) -> array[float]:
        """Return the SHAP values of one row, [F, K] row-major; with `base` they add up to the margin."""
    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the SHAP values of n rows, [n, F, K] row-major; within 1e-12 of `contributions` of each."""
    @property
    def base(self) -> list[float]:
        """The expected raw margin, [K]."""
    @property
    def n_features(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...
    @property
    def n_trees(self) -> int: ...
    @property
    def level(self) -> str:
        """The instruction set that answers: baseline, avx2 or avx512."""
    @property
    def layout(self) -> str:
        """How the file is laid out: narrow (swept in bytes, in words, or walked) or wide."""
