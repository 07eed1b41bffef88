"""A name that stands twice is found in one pass."""

from __future__ import annotations

from mlrf.core.repeated_names import first_repeated


def test_the_first_second_time_counts():
    assert first_repeated(["a", "b", "b", "a"]) == "b"
    assert first_repeated(["a", "b"]) is None
    assert first_repeated([]) is None


def test_a_long_list_takes_one_pass():
    names = [str(n) for n in range(200_000)]
    assert first_repeated(names) is None
    assert first_repeated([*names, names[-1]]) == names[-1]
