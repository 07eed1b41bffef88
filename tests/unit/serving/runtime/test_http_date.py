"""Times as HTTP writes them: those of the standard library's `email.utils`."""

from __future__ import annotations

from email.utils import formatdate

from mlrf.serving.runtime.http_date import http_date


def test_the_example_of_the_rfc():
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_every_day_and_month_is_that_of_the_standard_library():
    for day in range(800):
        timestamp_s = 1.7e9 + day * 86_423.25
        assert http_date(timestamp_s) == formatdate(timestamp_s, usegmt=True)
