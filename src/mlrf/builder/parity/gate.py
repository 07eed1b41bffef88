"""The parity gate: an exported model passes only if it reproduces the training library on every golden row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.builder.parity.comparison import (
    MARGIN_LIMIT,
    PREDICTION_LIMITS,
    compare,
    lowest_precision,
    refuse,
    report,
    rounding_limit,
)
from mlrf.builder.parity.exports import TreesRun, run_onnx, run_trees
from mlrf.builder.parity.golden_rows import KINDS, GoldenRows, golden_rows_of
from mlrf.builder.parity.infinity_probe import MAX_BACKGROUNDS, InfinityRows, infinity_rows, with_infinities
from mlrf.builder.parity.kept_rows import kept_rows
from mlrf.builder.parity.node_probes import Coverage
from mlrf.builder.parity.reference_runner import Answers, InfiniteAnswers, run_reference_library
from mlrf.core.errors import ParityError
from mlrf.core.forest import F64, I64, Bool
from mlrf.core.manifest import ParityRows
from mlrf.core.schema import Schema
from mlrf.engines.selection import ONNX_RUNTIME
from mlrf.engines.tree_kernel import TreeEngine
from mlrf.model.explanation import ADDITIVITY_LIMIT

_MIN_STORED_BYTES = 512 << 10
_EXPLAINED_INFINITIES = 64
"""Rows of infinities that the tree engine also answers one by one, and explains."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """The result of the gate, and the golden rows for the bundle."""

    parity: dict[str, dict[str, ParityRows]]
    """By engine, then by kind of golden rows."""
    coverage: Coverage
    library_version: str
    kinds: list[str]
    """[m] The kind of each golden row that the bundle stores."""
    rows: F64
    """[m, F] The stored rows."""
    margins: F64
    """[m, K] The library's margins of them."""
    predictions: F64
    """[m, K] The library's predictions of them."""
    schema: Schema
    """The model's schema, with how the library treats infinities."""


@dataclass(frozen=True, slots=True)
class Exports:
    """A model as each engine reads it."""

    onnx: bytes | None
    """None if ONNX has no operators for the model: only the tree engine serves it."""
    forest: bytes


def prove(model: ImportedModel, exports: Exports, schema: Schema, *, sampled: F64 | None, progress: Progress) -> Proof:
    """Return the proof that both exports agree with the training library; ParityError names the rows that differ.

    `sampled` are rows [n, F] of the caller's `--sample`, or None.
    """
    if model.final is not None:
        # The final trees alone, on and around their own thresholds, which rows of the whole cannot be made to hit.
        final = Exports(None, encode_forest(model.final.forest))
        prove(model.final, final, Schema(model.final.features), sampled=None, progress=_ignore)
    golden = golden_rows_of(model, sampled, lambda done: progress("golden rows", done))
    progress("golden rows", 1.0)
    kept = kept_rows(
        golden, n_outputs=model.forest.n_outputs, size_bytes=max(_MIN_STORED_BYTES, len(model.source) // 2)
    )
    progress(f"asking {model.library}", 0.0)
    is_single = model.counts_infinite_from_float32
    infinite = infinity_rows(schema.features, golden.rows.dense(0, MAX_BACKGROUNDS), is_single=is_single)
    answers = run_reference_library(model, golden.rows, kept, infinite.rows)
    progress(f"asking {model.library}", 1.0)
    trees = run_trees(exports.forest, golden.rows, kept)
    parity = {TreeEngine.name: check_tree_export(model, schema, golden, kept, answers, trees)}
    if exports.onnx is None:
        margins = model.margins(trees.single, golden.rows.take(kept).dense())
        _check_predictions(model, schema, golden, kept, answers, _linked(model, margins))
    else:
        got = run_onnx(exports.onnx, golden.rows, lambda done: progress("running ONNX Runtime", done))
        progress("running ONNX Runtime", 1.0)
        parity[ONNX_RUNTIME] = check_onnx_export(model, schema, golden, kept, answers, got)
    # Rows of one background are consecutive: their file stores the differences from the row before.
    order = np.argsort(golden.rows.start[kept], kind="stable")
    stored = golden.take(kept[order])
    return Proof(
        parity=parity,
        coverage=golden.coverage,
        library_version=answers.version,
        kinds=[KINDS[number] for number in stored.kinds],
        rows=stored.rows.dense(),
        margins=model.margins(trees.single[order], stored.rows.dense())
        if model.computes_margins
        else answers.margins[kept[order]],
        predictions=answers.predictions[order],
        schema=_with_infinities(model, exports, schema, infinite, answers.infinite, is_single=is_single),
    )


def _ignore(_step: str, _done: float) -> None:
    """Report no progress."""


def _with_infinities(
    model: ImportedModel,
    exports: Exports,
    schema: Schema,
    probed: InfinityRows,
    found: InfiniteAnswers | None,
    *,
    is_single: bool,
) -> Schema:
    """Return the schema with how the library treats infinities; where an engine differs, infinities are refused."""
    refused = np.zeros(len(probed.rows), np.bool_)
    reads_rows = model.combination is not None and model.combination.reads_rows
    # What reads the row besides the members is not tried with each infinity.
    if reads_rows or found is None or found.margins.shape[1] != model.forest.n_outputs:
        return with_infinities(schema, probed, refused, lambda _: refused, is_single=is_single)

    def agrees(rows: F64) -> Bool:
        some = np.unique(np.linspace(0, len(rows) - 1, _EXPLAINED_INFINITIES).astype(np.int64))
        got = run_trees(exports.forest, rows, some)
        same = ~compare(found.margins, model.library_margins(got.margins), relative=0.0).off
        same[some] &= ~compare(found.margins[some], model.library_margins(got.single), relative=0.0).off
        same &= got.additivity_gap <= ADDITIVITY_LIMIT
        if exports.onnx is not None:
            margins, _ = run_onnx(exports.onnx, rows)
            same &= ~compare(found.margins, margins, relative=MARGIN_LIMIT, absolute=rounding_limit(model.forest)).off
        return same

    return with_infinities(schema, probed, found.answered, agrees, is_single=is_single)


def check_onnx_export(
    model: ImportedModel, schema: Schema, golden: GoldenRows, kept: I64, answers: Answers, got: tuple[F64, F64]
) -> dict[str, ParityRows]:
    """Return the result of each kind of golden rows; ParityError if margins or predictions differ.

    `got` are the export's margins and predictions of all golden rows, `kept` are the indices of those whose predictions are
    compared.
    """
    margins, predictions = got
    verdict = compare(answers.margins, margins, relative=MARGIN_LIMIT, absolute=rounding_limit(model.forest))
    if np.any(verdict.off):
        raise refuse("margin", model.library, golden, verdict, answers.margins, margins, schema)
    # Both links: the one in the export, and the one that serves.
    for exported in (predictions[kept], _linked(model, margins[kept])):
        _check_predictions(model, schema, golden, kept, answers, exported)
    return report(golden, verdict)


def _linked(model: ImportedModel, margins: F64) -> F64:
    return np.array([model.link.vector()(row) for row in margins.tolist()]).reshape(len(margins), -1)


def _check_predictions(
    model: ImportedModel, schema: Schema, golden: GoldenRows, kept: I64, answers: Answers, exported: F64
) -> None:
    """Raise ParityError if predictions of the kept rows differ from the library's."""
    verdict = compare(answers.predictions, exported, relative=PREDICTION_LIMITS[lowest_precision(model.forest)])
    if np.any(verdict.off):
        part = golden.take(kept)
        raise refuse("prediction", model.library, part, verdict, answers.predictions, exported, schema)


def check_tree_export(
    model: ImportedModel, schema: Schema, golden: GoldenRows, kept: I64, answers: Answers, got: TreesRun
) -> dict[str, ParityRows]:
    """Return the result of each kind of golden rows on the tree engine.

    ParityError unless every margin equals the library's to the bit, in a batch and (the kept rows) one by one, and
    base and contributions add up to it.
    """
    margins, single = model.library_margins(got.margins), model.library_margins(got.single)
    verdict = compare(answers.margins, margins, relative=0.0)
    if np.any(verdict.off):
        raise refuse("margin", model.library, golden, verdict, answers.margins, margins, schema)
    part = golden.take(kept)
    alone = compare(answers.margins[kept], single, relative=0.0)
    if np.any(alone.off):
        raise refuse("margin of a single row", model.library, part, alone, answers.margins[kept], single, schema)
    gap = got.additivity_gap
    if gap > ADDITIVITY_LIMIT:
        raise ParityError(
            f"the exported model's contributions differ from its margin by {gap:.3g} of their size; nothing was written; "
            "please report this model"
        )
    return report(golden, verdict)
