"""`mlrf diff`: compare two bundles from the clients' point of view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from mlrf.cli.diff_gate import compare_rows, exceeded, read_limits
from mlrf.cli.exit_status import FAILED
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.prediction_differences import Differences
from mlrf.cli.terminal_text import escaped, escaped_json
from mlrf.core.bundle import Bundle
from mlrf.core.compatibility import contract_changes
from mlrf.core.errors import ConfigError
from mlrf.core.feature import Feature
from mlrf.core.golden_bin import read_golden_rows
from mlrf.core.leniency import Leniency
from mlrf.core.manifest import GOLDEN_ROWS
from mlrf.core.named_bundle import open_bundle
from mlrf.core.schema import Schema
from mlrf.engines.selection import open_engine
from mlrf.model import Model


def diff(
    old: Annotated[Path, typer.Argument(help="A bundle, or REPOSITORY/NAME[@VERSION].", parser=non_empty_path)],
    new: Annotated[Path, typer.Argument(help="The bundle that would replace it, named alike.", parser=non_empty_path)],
    rows: Annotated[
        Path | None,
        typer.Option(
            help="Rows to predict with both (.parquet, .csv, .json, .jsonl; default: golden rows).",
            parser=non_empty_path,
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of --rows with the true values; reports the errors of both models.")
    ] = None,
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<limit>",
            help="Exit with status 1 if a figure is above its limit, or if no rows can be compared (default: never). "
            "NAME=LIMIT for median, p90, p99, p999, max (of the differences), labels (share that changes, with --rows), "
            "contributions (shift of the features' shares, 0 to 1, with --rows); a number alone is for p99 and labels. "
            "May be repeated.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Compare two bundles: their contract with clients, how they were made, and their predictions for the same rows.

    The exit status is 0 whether they differ or not, unless --fail-above sets a limit.

    \b
    Examples:
      mlrf diff models/sales sales-bundle --rows yesterday.parquet
      mlrf diff models/sales sales-bundle --rows yesterday.parquet --fail-above 0.01 --json
      mlrf diff models/sales sales-bundle --rows days/ --fail-above max=1 --fail-above contributions=0.1
    """  # noqa: D301  \b is the character that keeps typer from joining lines
    if label is not None and rows is None:
        raise ConfigError("--label: it names a column of --rows; give --rows too")
    limits = read_limits(fail_above or [])
    if "contributions" in limits and rows is None:
        raise ConfigError("--fail-above contributions=…: the rows to explain are those of --rows; give --rows too")
    before, after = open_bundle(old), open_bundle(new)
    document: dict[str, Any] = {
        "old": before.version,
        "new": after.version,
        "contract": contract_changes(before, after),
        "made": _changed_facts(before, after),
        "predictions": _predictions(before, after, rows, label, explains="contributions" in limits),
    }
    if limits:
        document["gate"] = {"limits": limits, "failed": exceeded(document["predictions"], limits)}
    if as_json:
        typer.echo(escaped_json(document, indent=2))
    else:
        for line in _report_lines(before, after, document):
            typer.echo(escaped(line))
    if limits and document["gate"]["failed"]:
        failed = "; ".join(document["gate"]["failed"])
        typer.echo(f"mlrf: the bundles differ by more than --fail-above allows: {failed}", err=True)
        raise typer.Exit(FAILED)


def _changed_facts(before: Bundle, after: Bundle) -> dict[str, Any]:
    """Return the facts in which both manifests differ, as [old, new]."""
    facts: dict[str, Any] = {}
    for bundle, side in ((before, 0), (after, 1)):
        flat = {
            "name": bundle.name,
            "objective": bundle.manifest.objective,
            **({} if bundle.manifest.facts is None else msgspec.structs.asdict(bundle.manifest.facts)),
            **({} if bundle.manifest.graph is None else {"operators": bundle.manifest.graph.operators}),
            "base": bundle.manifest.base,
            **{f"made with {name}": version for name, version in bundle.manifest.libraries.items()},
        }
        for key, value in flat.items():
            facts.setdefault(key, [None, None])[side] = value
    return {key: pair for key, pair in facts.items() if pair[0] != pair[1]}


def _predictions(
    before: Bundle, after: Bundle, rows: Path | None, label: str | None, *, explains: bool
) -> dict[str, Any] | None:
    """Return a comparison of the predictions; None if the old bundle's rows do not fit the new one."""
    models = [Model(bundle, open_engine(bundle)) for bundle in (before, after)]
    if rows is None:
        if before.schema.names != after.schema.names or GOLDEN_ROWS not in before.manifest.files:
            return None
        manifest = before.manifest
        golden = read_golden_rows(before.file(GOLDEN_ROWS), manifest.n_features, manifest.n_outputs)
        apart = Differences()
        apart.add(*(np.frombuffer(model.engine.margins(golden.rows), dtype=np.float64) for model in models))
        return {"rows": golden.n, "of": "margins of golden rows", **apart.summary()}
    compared = compare_rows(models, rows, explains=explains)
    return compared if label is None or "shapes" in compared else compared | {"errors": _errors_of(models, rows, label)}


def _errors_of(models: Sequence[Model], rows: Path, label: str) -> list[dict[str, float]]:
    if any(model.bundle.manifest.task != "regression" for model in models):
        raise ConfigError("--label: errors are reported for regression models only; leave it out")
    from mlrf.model.row_files import read_file  # noqa: PLC0415
    from mlrf.model.table_input import read_rows  # noqa: PLC0415

    lenient = Leniency("ignore", "missing")
    column = Schema((Feature(label),))
    truth = read_rows(column, read_file(rows, column), lenient)[:, 0].tolist()
    return [_errors(truth, model.predict(read_file(rows, model.schema), lenient).tolist()) for model in models]


def _errors(truth: Sequence[float], answers: Sequence[float]) -> dict[str, float]:
    apart = [a - t for a, t in zip(answers, truth, strict=True) if math.isfinite(t)]
    if not apart:
        raise ConfigError("--label: the column contains no number")
    return {
        "mean_absolute": math.fsum(map(abs, apart)) / len(apart),
        "root_mean_square": math.sqrt(math.fsum(d * d for d in apart) / len(apart)),
    }


def _report_lines(before: Bundle, after: Bundle, document: dict[str, Any]) -> list[str]:
    lines = [f"{before.name} {before.short_version} -> {after.name} {after.short_version}"]
    if before.version == after.version:
        return [*lines, "the same bundle"]
    lines += [f"callers: {change}" for change in document["contract"]] or ["callers: nothing changes"]
    lines += [f"{what}: {old} -> {new}" for what, (old, new) in document["made"].items()]
    found = document["predictions"]
    if found is None:
        return [
            *lines,
            "predictions: the golden rows of the old bundle do not match the new one; give rows with --rows",
        ]
    lines.append(f"{found['of']}, {found['rows']} rows:")
    for what, value in found.items():
        if what == "errors":
            lines += [f"  error {kind}: {old:.6g} -> {found['errors'][1][kind]:.6g}" for kind, old in value[0].items()]
        elif what not in ("of", "rows"):
            lines.append(
                f"  {what.replace('_', ' ')}: {value:.6g}" if isinstance(value, float) else f"  {what}: {value}"
            )
    return lines
