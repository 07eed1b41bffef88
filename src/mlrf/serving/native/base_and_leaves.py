"""What a request may ask of the trees in addition to the prediction: margins that start at the row's own base, and leaves."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from mlrf.core.errors import InvalidRequestError
from mlrf.engines.interface import Explainer, Row
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.native.requests import Details


def move_margins(
    model: RowPredictor, rows: Sequence[Row], margins: array[float], details: Sequence[Details | None]
) -> tuple[array[float], Mapping[int, Sequence[float]]]:
    """Return margins [n, K] with those of rows that have a base margin replaced, and by index the bases of these rows.

    A base moves by as much as its margin, so that contributions still add up to what is served. InvalidRequestError names the
    instance whose base margin does not fit the model.
    """
    k = model.engine.n_outputs
    starts = {
        i: each.base_margin for i, each in enumerate(details) if each is not None and each.base_margin is not None
    }
    for index, start in starts.items():
        if len(start) != k:
            where = f"instance {index}: " if len(details) > 1 else ""
            raise InvalidRequestError(
                f"{where}base_margin must have a number for each of the model's {k} outputs, not {len(start)}",
                field="base_margin",
            )
    table = model.table([rows[index] for index in starts])
    found = model.margins_from(table, [number for start in starts.values() for number in start])
    own = model.engine.base if isinstance(model.engine, Explainer) else [0.0] * k
    moved, bases = array("d", margins), {}
    for position, index in enumerate(starts):
        new = found[position * k : (position + 1) * k]
        old = margins[index * k : (index + 1) * k]
        moved[index * k : (index + 1) * k] = new
        bases[index] = [base + (end - start) for base, end, start in zip(own, new, old, strict=True)]
    return moved, bases


def leaves_of(
    model: RowPredictor, rows: Sequence[Row], details: Sequence[Details | None]
) -> Sequence[Sequence[int] | None]:
    """Return the leaves that each row reaches, None for rows that do not ask for them."""
    asking = [i for i, each in enumerate(details) if each is not None and each.leaves]
    found = dict(zip(asking, model.leaves().by_row(model.table([rows[i] for i in asking])), strict=True))
    return [found.get(index) for index in range(len(details))]
