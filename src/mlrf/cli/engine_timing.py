"""Timing of engines in alternating rounds: processor time for the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.manifest import FOREST, GOLDEN, ONNX_MODEL
from mlrf.engines.interface import Engine, Explainer, Row
from mlrf.engines.selection import ONNX_RUNTIME, TREES, check_package, onnx_runtime_is_installed, open_engine

Rows = npt.NDArray[np.float64]
Figures = dict[str, float | None]
"""An engine's figures by the keys of `FIGURES`; None for an unsupported operation."""

FIGURES = (
    ("open_ms", "open the file", "ms"),
    ("one_row_us", "one row", "µs"),
    ("hundred_rows_us", "100 rows, each", "µs"),
    ("many_rows_us", "{rows} rows, each", "µs"),
    ("explain_one_row_us", "explain one row", "µs"),
)
"""Key, title and unit of each figure."""
_KEYS = tuple(key for key, _, _ in FIGURES)

_TURNS = 7
_TURN_S = 0.02
_HUNDRED = 100
_SINGLE_ROWS = 1000
_SINGLE_NUMBERS = 1 << 20
"""Most numbers in the rows that are predicted one at a time, which are lists: with 20,000 features, a thousand take 700 MB."""
_MAX_BYTES = 256 << 20
"""Size of the largest table of rows."""
_MISSING_SHARE = 0.05
_OPEN_CODES = 10
_SEED = 5


def timeable_engines(bundle: Bundle) -> list[str]:
    """Return the engines that a bundle has files for and that are installed; ConfigError when that is none."""
    names = [TREES] * (FOREST in bundle.manifest.files)
    if ONNX_MODEL in bundle.manifest.files and (onnx_runtime_is_installed() or not names):
        check_package(bundle, ONNX_RUNTIME)
        names.append(ONNX_RUNTIME)
    return names


def rows_for(bundle: Bundle, n_rows: int) -> tuple[Rows, str]:
    """Return random rows [n, F] for the model, the same each time, and a description of their source.

    There are fewer than `n_rows`, but at least a hundred, if those would take more than 256 MiB.
    """
    rng = np.random.default_rng(_SEED)
    n_rows = min(n_rows, max(_HUNDRED, _MAX_BYTES // (8 * bundle.manifest.n_features)))
    if GOLDEN in bundle.manifest.files:
        try:
            from mlrf.builder.bundle.golden_parquet import read_golden  # noqa: PLC0415  a server may lack pyarrow
        except ImportError:
            pass
        else:
            golden = read_golden(bundle.file(GOLDEN)).rows
            if len(golden):
                return np.ascontiguousarray(golden[rng.integers(len(golden), size=n_rows)]), "drawn from golden.parquet"
    example = bundle.schema.row(bundle.schema.example())
    columns = [_column(rng, f, x, n_rows) for f, x in zip(bundle.schema.features, example, strict=True)]
    return np.ascontiguousarray(np.stack(columns, axis=1)), "generated from the schema"


def _column(rng: np.random.Generator, feature: Feature, example: float, n_rows: int) -> Rows:
    """Return valid values of a feature, around its example."""
    match feature.kind:
        case Kind.BOOLEAN:
            values = rng.integers(2, size=n_rows).astype(np.float64)
        case Kind.CATEGORICAL:
            count = _OPEN_CODES if feature.categories is None else max(1, len(feature.categories))
            values = rng.integers(count, size=n_rows).astype(np.float64)
        case Kind.INTEGER | Kind.NUMERIC:
            centre = example if np.isfinite(example) else 0.0
            values = centre + rng.normal(size=n_rows) * max(1.0, abs(centre))
            values = np.floor(values) if feature.kind is Kind.INTEGER else values
    return np.where(rng.random(n_rows) < _MISSING_SHARE, np.nan, values) if feature.nullable else values


def time_engines(
    bundle: Bundle,
    names: Sequence[str],
    rows: Rows,
    progress: Callable[[float], None],
    *,
    turns: int = _TURNS,
    keys: Sequence[str] = _KEYS,
) -> dict[str, Figures]:
    """Return the figures `keys` of each engine; `progress` receives the share that is done.

    BundleError when a file is refused.
    """
    engines = {name: open_engine(bundle, name) for name in names}
    singles = single_rows(rows)
    works = {
        (name, key): work
        for name, engine in engines.items()
        for key, work in _works(bundle, engine, rows, singles).items()
        if key in keys
    }
    best = dict.fromkeys(works, float("inf"))
    for turn in range(turns):
        for index, (which, (work, scale)) in enumerate(works.items()):
            best[which] = min(best[which], scale * _seconds_a_call(work))
            progress((turn + (index + 1) / len(works)) / turns)
    return {name: {key: best.get((name, key)) for key in keys} for name in names}


def _works(
    bundle: Bundle, engine: Engine, rows: Rows, singles: Sequence[Row]
) -> dict[str, tuple[Callable[[], object], float]]:
    """Return, by figure, the function to time and the factor from seconds per call to the figure's unit."""
    hundred = np.ascontiguousarray(rows[:_HUNDRED]).data
    works: dict[str, tuple[Callable[[], object], float]] = {
        "open_ms": (partial(open_engine, bundle, engine.name), 1e3),
        "one_row_us": (partial(_each, engine.margin, singles), 1e6 / len(singles)),
        "hundred_rows_us": (partial(engine.margins, hundred), 1e6 / _HUNDRED),
        "many_rows_us": (partial(engine.margins, rows.data), 1e6 / len(rows)),
    }
    if isinstance(engine, Explainer):
        explained = singles[:_HUNDRED]
        works["explain_one_row_us"] = (partial(_each, engine.contributions, explained), 1e6 / len(explained))
    return works


def single_rows(rows: Rows) -> list[Row]:
    """Return the rows that are predicted one at a time: the first thousand, or fewer if they are wide."""
    count = max(1, min(_SINGLE_ROWS, _SINGLE_NUMBERS // rows.shape[1]))
    singles: list[Row] = rows[:count].tolist()
    return singles


def _each(answer: Callable[[Row], object], rows: Sequence[Row]) -> None:
    for row in rows:
        answer(row)


def _seconds_a_call(work: Callable[[], object]) -> float:
    """Return the processor seconds per call, over the calls of one round."""
    calls = 1
    while True:
        started = time.process_time()
        for _ in range(calls):
            work()
        elapsed = time.process_time() - started
        if elapsed > _TURN_S:
            return elapsed / calls
        calls *= 2
