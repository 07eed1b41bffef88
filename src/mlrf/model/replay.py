"""Replay of golden rows: the last check of a model before it serves.

1. The engine that will serve must give the training library's margin for every row of `golden.bin`, alone and in a batch.
2. A sample of the rows is explained; contributions must add up to the margin.
3. The time is limited: an engine that can be interrupted (an ONNX graph may loop forever) is interrupted.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlrf.core.errors import BundleError
from mlrf.core.golden_bin import GoldenRows, read_golden_rows
from mlrf.core.manifest import GOLDEN_ROWS
from mlrf.engines.interface import Engine, Explainer, Interruptible
from mlrf.model.row_predictor import RowPredictor

LIMIT_S = 30.0
"""Default limit of a replay, in seconds."""
_EXPLAINED_ROWS = 16
_ADDITIVITY_LIMIT = 1e-9


def replay(model: RowPredictor, golden_rows: Path | None = None, limit_s: float = LIMIT_S) -> int:
    """Replay the golden rows of a model's bundle and return their number.

    `golden_rows` is the file to read instead of the bundle's own. BundleError when a margin is not the training library's
    (within the manifest's `margin_limit`), when a batch differs from the rows alone, when contributions do not add up to their
    margin, when the golden rows cannot be read, or when the replay takes longer than `limit_s`.
    """
    bundle = model.bundle
    path = golden_rows or bundle.file(GOLDEN_ROWS)
    try:
        golden = read_golden_rows(path, bundle.manifest.n_features, bundle.manifest.n_outputs)
    except BundleError as error:
        # Name the file by its path in the bundle, not by that of an open descriptor.
        raise BundleError(str(error).replace(str(path), str(bundle.path / GOLDEN_ROWS)), file=GOLDEN_ROWS) from error
    with _time_limit(model.engine, limit_s) as is_over:
        try:
            _compare(model, golden, is_over)
            _explain(model, golden)
        except Exception as error:
            if not is_over.is_set():
                raise
            raise BundleError(
                f"{bundle.path}: the replay of its golden rows took longer than {limit_s:g} s", file=GOLDEN_ROWS
            ) from error
    return golden.n


@contextmanager
def _time_limit(engine: Engine, limit_s: float) -> Iterator[threading.Event]:
    """Interrupt the engine when the limit has passed, and set the event."""
    is_over = threading.Event()

    def end() -> None:
        is_over.set()
        if isinstance(engine, Interruptible):
            engine.interrupt()

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()
        timer.join()
        if is_over.is_set() and isinstance(engine, Interruptible):
            engine.resume()


def _compare(model: RowPredictor, golden: GoldenRows, is_over: threading.Event) -> None:
    """Compare the margins of all golden rows, alone and in one batch, with the training library's."""
    bundle, limit = model.bundle, model.bundle.manifest.margin_limit
    f, k = bundle.manifest.n_features, bundle.manifest.n_outputs
    finite = [abs(m) for m in golden.margins if math.isfinite(m)]
    mean = sum(finite) / max(1, len(finite))
    together = model.engine.margins(golden.rows)
    for index in range(golden.n):
        if is_over.is_set():
            raise TimeoutError
        expected = golden.margins[index * k : (index + 1) * k]
        alone = model.engine.margin(golden.rows[index * f : (index + 1) * f])
        if not all(_close(m, e, limit, mean) for m, e in zip(alone, expected, strict=True)):
            raise BundleError(
                f"{bundle.path}: {model.engine.name} predicts {alone} for golden row {index}, but the training library "
                f"predicted {expected.tolist()}",
                file=GOLDEN_ROWS,
            )
        if not _same(alone, together[index * k : (index + 1) * k]):
            raise BundleError(
                f"{bundle.path}: golden row {index} is predicted differently in a batch and alone", file=GOLDEN_ROWS
            )


def _explain(model: RowPredictor, golden: GoldenRows) -> None:
    """Check that the contributions of a sample of the golden rows add up to their margins."""
    engine = model.engine
    if not isinstance(engine, Explainer):
        return
    f, k = model.bundle.manifest.n_features, model.bundle.manifest.n_outputs
    for index in range(0, golden.n, max(1, golden.n // _EXPLAINED_ROWS)):
        row = golden.rows[index * f : (index + 1) * f]
        contributions, margins = engine.contributions(row), engine.margin(row)
        for output in range(k):
            parts = [engine.base[output], *contributions[output::k]]
            scale = max(1.0, *map(abs, parts), sum(map(abs, parts[1:])))
            # Contributions cannot add up to a margin that is not finite.
            if math.isfinite(margins[output]) and abs(math.fsum(parts) - margins[output]) > _ADDITIVITY_LIMIT * scale:
                raise BundleError(
                    f"{model.bundle.path}: the contributions of golden row {index} do not add up to its margin",
                    file=GOLDEN_ROWS,
                )


def _close(got: float, expected: float, limit: float, mean: float) -> bool:
    if got == expected or (math.isnan(got) and math.isnan(expected)):
        return True
    return abs(got - expected) <= limit * max(abs(expected), mean)


def _same(left: Sequence[float], right: Sequence[float]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(left, right, strict=True))
