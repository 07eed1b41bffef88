"""Settings of the tests of commands."""

from __future__ import annotations

import pytest

from forked_references import forked_references  # noqa: F401  a fixture
from mlrf.cli import engine_timing


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch):
    """Have `mlrf bench` time rounds of a millisecond: its figures are not looked at."""
    monkeypatch.setattr(engine_timing, "_TURN_S", 1e-3)
