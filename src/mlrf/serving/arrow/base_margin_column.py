"""The column `base_margin` of an Arrow stream (LightGBM's name: `init_score`): the margin that each row starts at."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from mlrf.core.errors import InvalidRequestError
from mlrf.serving.arrow.columns import Column, numbers
from mlrf.serving.arrow.record_batch import parts_of
from mlrf.serving.arrow.stream import Message

NAMES = ("base_margin", "init_score")
ABSENT = -1


def base_margin_index(columns: Sequence[Column], features: Sequence[str]) -> int:
    """Return the index of the column of base margins, ABSENT without one; a feature of that name is no base margin."""
    found = [i for i, column in enumerate(columns) if column.name in NAMES and column.name not in features]
    if not found:
        return ABSENT
    name = columns[found[-1]].name
    if len(found) > 1:
        raise InvalidRequestError(
            "the stream has two columns of base margins; send base_margin or init_score", field=name
        )
    if not columns[found[0]].is_number:
        raise InvalidRequestError(f"the column {name} does not hold numbers; send a column of floats", field=name)
    return found[0]


def read_base_margins(message: Message, columns: Sequence[Column], index: int, n: int) -> array[float]:
    """Return the base margins of the n rows of a record batch, missing ones as NaN."""
    return numbers(columns[index], n, *parts_of(message.header, message.body, columns, n)[index])
