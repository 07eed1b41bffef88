"""These tests start reference processes as users do."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def forked_references():
    """Nothing in place of the fixture of the folder above."""
