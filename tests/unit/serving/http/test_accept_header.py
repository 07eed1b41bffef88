"""The order of the media types of an Accept header."""

from __future__ import annotations

import pytest

from mlrf.serving.http.accept_header import preferred_types


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"*/*", [b"*/*"]),
        (b"Text/CSV, application/json", [b"text/csv", b"application/json"]),
        (b"text/csv;q=0.5, application/json", [b"application/json", b"text/csv"]),
        (b"text/csv; charset=utf-8; q=0.25,a/b ; Q=0.3", [b"a/b", b"text/csv"]),
        (b"text/csv;q=0, a/b;q=0.000, c/d;q=0.001", [b"c/d"]),
        (b"text/csv;q=2, a/b;q=x, c/d;q=1.000", [b"text/csv", b"a/b", b"c/d"]),
        (b"", [b""]),
        (b"a/b;q=0", []),
    ],
)
def test_types_are_ordered_by_weight(accept, expected):
    assert preferred_types(accept) == expected
