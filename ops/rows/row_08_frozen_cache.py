"""Row 8: Redis as a shared cache that stops for a while, and goes on."""

from __future__ import annotations

from row_of_tests import row_of_tests

_PATIENT = """
from mlrf.serving.cache import redis_cache
redis_cache.DEADLINE_S = 60.0
"""

ROW = row_of_tests(
    8,
    "Redis as cache frozen",
    "0 errors; p99 rises by less than 5 ms; normal < 2 s after it goes on",
    "a request waits a minute for the cache",
    tests=("tests/ops/test_shared_cache.py::test_frozen_cache_delays_no_request",),
    broken_by=_PATIENT,
)
