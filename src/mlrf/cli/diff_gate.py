"""The gate of `mlrf diff`: rows predicted with both models batch by batch, and figures compared with their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrf.cli.prediction_differences import LIMITS, QUANTILES, ContributionShift, Differences
from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model import Model
from mlrf.model.json_instances import spelled_as_features
from mlrf.model.logged_predictions import is_log, read_log
from mlrf.model.logged_rows import decoded, rows_of_request
from mlrf.model.row_predictor import RowPredictor

_BATCH_ROWS = 1 << 16
_LENIENT = Leniency("ignore", "missing", natural=True)
_BY_NUMBER = ("p99", "labels")
"""What a limit without a name is for."""


def read_limits(texts: Sequence[str]) -> dict[str, float]:
    """Return limits by name, from numbers and NAME=LIMIT; ConfigError for another name or no number."""
    limits: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not limit >= 0 or (equals and name not in LIMITS):
            raise ConfigError(
                f"--fail-above: {text!r} is neither a number from 0 nor NAME=LIMIT with a name of {', '.join(LIMITS)}"
            )
        limits |= dict.fromkeys([name] if equals else _BY_NUMBER, limit)
    return limits


def exceeded(found: dict[str, Any] | None, limits: Mapping[str, float]) -> list[str]:
    """Return a sentence for each figure of a comparison that is above its limit, or one if nothing could be compared."""
    if found is None or not found.get("compared"):
        return ["no row could be compared; give rows with --rows"]
    failed = []
    if found["not_comparable"]:
        failed.append(f"{found['not_comparable']} answers are finite numbers from only one of the bundles")
    failed += [
        f"the {_ORDINAL[name]} of the differences is {found[f'{name}_difference']:.6g}"
        for name in QUANTILES
        if name in limits and found[f"{name}_difference"] > limits[name]
    ]
    if "labels" in limits and found.get("changed_labels", 0) / found["rows"] > limits["labels"]:
        failed.append(f"{found['changed_labels']} of {found['rows']} labels change")
    if "contributions" in limits and found["contribution_shift"] > limits["contributions"]:
        most = next(iter(found["moved_shares"]))
        failed.append(f"the shares of contributions shift by {found['contribution_shift']:.6g}, most that of {most!r}")
    return failed


_ORDINAL = {
    "median": "median", "p90": "90th percentile", "p99": "99th percentile", "p999": "99.9th percentile", "max": "largest",
}  # fmt: skip


def compare_rows(models: Sequence[Model], rows: Path, *, explains: bool) -> dict[str, Any]:
    """Return a comparison of the predictions of two models for the rows of a file, or a directory of Parquet files."""
    apart, shift = Differences(), ContributionShift()
    n_rows = changed = 0
    shapes: list[list[int]] = []
    predictors = [RowPredictor(model.bundle, model.engine) for model in models]
    for tables in zip(*(batches(rows, model.schema) for model in models), strict=True):
        answers = [model.predict(table, _LENIENT) for model, table in zip(models, tables, strict=True)]
        n_rows += len(answers[0])
        shapes = [list(each.shape) for each in answers]
        if shapes[0][1:] != shapes[1][1:]:
            return {"rows": n_rows, "of": "predictions", "shapes": shapes}
        apart.add(*(each.ravel() for each in answers))
        if all(model.classes is not None for model in models):
            labels = [
                [each.label_of(a) for a in found.tolist()] for each, found in zip(predictors, answers, strict=True)
            ]
            changed += sum(old != new for old, new in zip(*labels, strict=True))
        if explains:
            for side, (model, table) in enumerate(zip(models, tables, strict=True)):
                shift.add(side, list(model.schema.names), model.explain(table, _LENIENT).values)
    compared = {"rows": n_rows, "of": "predictions", **apart.summary()}
    if all(model.classes is not None for model in models):
        compared["changed_labels"] = changed
    return compared | shift.summary() if explains else compared


def batches(rows: Path, schema: Schema) -> Iterator[Any]:
    """Yield rows of Parquet files and prediction logs in parts of bounded size, of others as one; errors name the file."""
    from mlrf.model.row_files import read_file  # noqa: PLC0415

    if is_log(rows):
        yield from _logged(rows, schema)
        return
    if not rows.is_dir() and rows.suffix.lower() != ".parquet":
        yield read_file(rows, schema)
        return
    try:
        import pyarrow as pa  # noqa: PLC0415  a server may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"reading Parquet needs pyarrow: pip install 'mlrf[score]' ({error})") from error
    files = sorted(rows.rglob("*.parquet")) if rows.is_dir() else [rows]
    if not files:
        raise ConfigError(f"{rows}: contains no Parquet file")
    for file in files:
        if not file.is_file():
            raise ConfigError(f"{file} cannot be read: no such file")
        try:
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches(_BATCH_ROWS):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise InvalidRequestError(f"{file} is not a Parquet file that can be read: {error}") from error


def _logged(log: Path, schema: Schema) -> Iterator[list[Any]]:
    waiting: list[Any] = []
    for record in read_log(log):
        try:
            features = decoded(record.features) if record.has_features else None
            waiting += rows_of_request(decoded(record.request), features)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{log}: the request {record.request_id} of {record.route} {error}") from error
        if wrong := next((each for each in waiting if isinstance(each, InvalidRequestError)), None):
            raise InvalidRequestError(f"{log}: the record {record.request_id}: {wrong}")
        if len(waiting) >= _BATCH_ROWS:
            yield spelled_as_features(waiting, schema)
            waiting = []
    if waiting:
        yield spelled_as_features(waiting, schema)
