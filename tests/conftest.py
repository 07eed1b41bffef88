"""What tests of more than one folder share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# OpenMP's threads wait for each other by spinning: where tests share processors, a second becomes a minute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "shared machine", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")


@pytest.fixture
def bundle(tmp_path):
    """A regression bundle with a feature of every kind."""
    from bundles import write_bundle  # noqa: PLC0415  onnx costs a second that most tests need not wait

    return write_bundle(tmp_path / "bundle")
