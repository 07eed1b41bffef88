"""Row 9: Redis killed, reset, unreachable, silent, full, read-only, and with corrupt values, as cache and as feature store."""

from __future__ import annotations

from row_of_tests import row_of_tests

_TRUSTING = """
from mlrf.features import redis_store
from mlrf.serving.cache import redis_cache
redis_store._digest = lambda key, record: bytes(8)
redis_cache._code = lambda head, answer, of: bytes(16)
"""

ROW = row_of_tests(
    9,
    "Redis killed, reset, unreachable, silent, full, read-only, with corrupt values",
    "as cache: no 5xx and no wrong answer; as feature store: 503 FEATURES_UNAVAILABLE at once, no request without an answer, "
    "no wrong answer",
    "digests of cached answers and of stored rows are not compared",
    tests=(
        "tests/ops/test_shared_cache.py",
        "tests/ops/test_shared_rows_at_length.py",
        "tests/wire/test_shared_rows.py",
        "tests/wire/test_forged_rows.py",
    ),
    broken_by=_TRUSTING,
)
