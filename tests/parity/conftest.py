"""Leaves the first case of each parametrised test to `make test`. The others are `slow`, and run with `make test-all`."""

from __future__ import annotations

from collections import Counter

import pytest

from forked_references import forked_references  # noqa: F401  a fixture


def pytest_collection_modifyitems(items):
    """Mark the later cases: each trains a model and runs its library in a child process."""
    seen: Counter[str] = Counter()
    for item in items:
        if item.nodeid.startswith("tests/parity/"):
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if seen[test] > 1:
                item.add_marker(pytest.mark.slow)
