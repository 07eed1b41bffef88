"""Computes the values from which the outputs of a request are made: margins, contributions, bases and leaves of its rows."""

from __future__ import annotations

from array import array

import msgspec

from mlrf.core.errors import BatchTooLargeError, InvalidTensorError
from mlrf.core.value_text import shown_name
from mlrf.engines.interface import BackgroundExplainer, Rows
from mlrf.model.interactions import interactions_of
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.oip.explained_game import explainer_of
from mlrf.serving.oip.inference_run import InferenceRun
from mlrf.serving.oip.messages import InferRequest, InputTensor
from mlrf.serving.oip.output_tensors import NO_VALUES, RowValues
from mlrf.serving.oip.row_lookup import contributions_of
from mlrf.serving.oip.tensor_columns import number_column
from mlrf.serving.oip.tensor_reader import BASE_MARGIN_INPUTS, checked
from mlrf.serving.runtime.stages import EXPLAIN, recording

MOST_LEAVES = 1 << 22
"""Leaf numbers in an answer: a row of a model of thousands of trees has thousands of them."""

MOST_INTERACTIONS = 1 << 22
"""Interaction values in an answer: 32 MB."""

MOST_CONTRIBUTIONS = 1 << 23
"""Contributions in an answer, 64 MB: of a model of a hundred classes, a few megabytes of rows have gigabytes."""


def split_base_margin(request: InferRequest) -> tuple[InferRequest, InputTensor | None]:
    """Return a request without its input of base margins, and that input; the request and None if it has none."""
    tensor = next((each for each in request.inputs if each.name in BASE_MARGIN_INPUTS), None)
    if tensor is None:
        return request, None
    return msgspec.structs.replace(request, inputs=[each for each in request.inputs if each is not tensor]), tensor


def compute_values(model: RowPredictor, run: InferenceRun, rows: Rows) -> tuple[array[float], RowValues]:
    """Return the margins of a request's rows, and what else it asks of them; from any thread.

    InvalidTensorError, BatchTooLargeError and errors of the model.
    """
    leaves = _leaves(model, run, rows) if run.requested.reports_leaves else NO_VALUES.leaves
    if run.requested.explains:
        _check_contributions(model, run.count)
    margins, bases = model.engine.margins(rows), NO_VALUES.bases
    if run.base_margin is not None:
        own, margins = margins, model.margins_from(rows, _starts(run.base_margin, run.count, model.engine.n_outputs))
        if run.requested.explains:
            bases = _moved_bases(explainer_of(run.requested, model), own, margins)
    if not run.requested.explains:
        return margins, RowValues(bases=bases, leaves=leaves)
    if (recorder := recording()) is not None:
        recorder.enter(EXPLAIN)
    explainer, interactions = explainer_of(run.requested, model), NO_VALUES.interactions
    if run.requested.kind == "interactions":
        interactions = interactions_of(model, rows, run.count, MOST_INTERACTIONS)
    if run.requested.game is not None:
        contributions = explainer.contributions_many(rows)
    else:
        contributions = contributions_of(model, rows, run.found, run.precomputed)
    return margins, RowValues(contributions, interactions, array("d", explainer.base), bases, leaves)


def _check_contributions(model: RowPredictor, count: int) -> None:
    per_row = model.engine.n_features * model.engine.n_outputs
    if count > 1 and count * per_row > MOST_CONTRIBUTIONS:
        most = max(1, MOST_CONTRIBUTIONS // per_row)
        raise BatchTooLargeError(
            f"{count} rows have {count * per_row} contributions, more than the {MOST_CONTRIBUTIONS} of an answer; send at most "
            f"{most} rows a request",
            max_rows=most,
        )


def _leaves(model: RowPredictor, run: InferenceRun, rows: Rows) -> array[float]:
    leaves = model.leaves()
    if run.count * leaves.n_trees > MOST_LEAVES:
        most = MOST_LEAVES // leaves.n_trees
        raise BatchTooLargeError(
            f"the leaves of {run.count} rows in {leaves.n_trees} trees are more than the {MOST_LEAVES} numbers of an answer; "
            f"send at most {most} rows a request",
            max_rows=most,
        )
    return leaves.flat(rows)


def _starts(tensor: InputTensor, count: int, k: int) -> array[float]:
    shape = list(tensor.shape)
    if shape not in ([count, k], [count] if k == 1 else [count, k]):
        expected = f"[{count}] or [{count}, 1]" if k == 1 else f"[{count}, {k}]"
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)} must have the shape {expected}: a number for each row and output of the model",
            input=tensor.name,
        )
    return number_column(tensor, checked(tensor, count * k))


def _moved_bases(explainer: BackgroundExplainer, own: array[float], margins: array[float]) -> array[float]:
    """Return the base of each row: the explainer's, moved by as much as the row's margin."""
    bases = list(explainer.base) * (len(margins) // len(explainer.base))
    return array("d", [base + (moved - margin) for base, moved, margin in zip(bases, margins, own, strict=True)])
