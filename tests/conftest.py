"""Settings and fixtures for tests of more than one folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_TESTS = Path(__file__).parent
_END_TO_END = {"wire", "ops", "docs"}

# OpenMP threads spin while they wait for each other: with shared processors, a second becomes a minute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Otherwise every server and command that a test starts compiles mlrf again: half of the processor time of a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile(
    "shared machine", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items):
    """Mark tests that start processes, by folder."""
    for item in items:
        if item.path.relative_to(_TESTS).parts[0] in _END_TO_END:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def bundle(tmp_path):
    """A regression bundle with a feature of every kind."""
    from bundles import write_bundle  # noqa: PLC0415  importing onnx costs a second, which most tests need not spend

    return write_bundle(tmp_path / "bundle")
