"""A column is found under the name that it was trained with, and never guessed at."""

from __future__ import annotations

import pytest

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidRequestError


def test_column_is_found_by_its_or_lightgbms_name():
    assert find_columns(["x_y", "z"], ["other", "z", "x y"]) == {"z": 1, "x_y": 2}
    assert find_columns(["x_y", "z"], ["x_y"]) == {"x_y": 0}
    # A feature's own name is never another's.
    assert find_columns(["x_y", "x y"], ["x y", "x_y"]) == {"x y": 0, "x_y": 1}


@pytest.mark.parametrize(
    ("columns", "message"), [(["a b", "a_b"], "'a b' and 'a_b'"), (["a_b", "a_b"], "two columns 'a_b'")]
)
def test_what_could_be_either_is_refused(columns, message):
    with pytest.raises(InvalidRequestError, match=message) as refused:
        find_columns(["a_b"], columns)
    assert refused.value.details == {"feature": "a_b"}
    assert find_columns(["c"], [*columns, "c"]) == {"c": 2}
