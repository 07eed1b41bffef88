"""The environment of foreign clients that `make clients` builds: its Python, and the marks of tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[1] / f"{os.environ.get('VENV', '.venv')}-clients/bin/python"


def needs_clients(test):
    """Mark a test that runs `PYTHON`: skipped where there is none, but a failure in CI."""
    absent = not PYTHON.exists() and "CI" not in os.environ
    return pytest.mark.clients(pytest.mark.skipif(absent, reason="run `make clients` first")(test))
