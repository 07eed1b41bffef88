"""The environments of foreign clients that `make clients` builds: their programs, and the marks of tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_VENV = Path(__file__).parents[1] / os.environ.get("VENV", ".venv")
PYTHON = _VENV.with_name(f"{_VENV.name}-clients") / "bin/python"
GENERATORS = _VENV.with_name(f"{_VENV.name}-generators") / "bin"
"""Where the programs are that generate clients of the OpenAPI document."""
MLFLOW = _VENV.with_name(f"{_VENV.name}-conformance") / "mlflow/bin/python"
MODEL_SIGNING = _VENV.with_name(f"{_VENV.name}-conformance") / "model-signing/bin/python"


AZURITE = PYTHON.parents[1] / "node_modules/.bin/azurite-blob"
"""The server of Azure Blob Storage for tests."""


def needs_clients(test):
    """Mark a test that runs `PYTHON`: skipped where there is none, but a failure in CI."""
    return _needs(PYTHON, test)


def needs_generators(test):
    """Mark a test that runs `GENERATORS`, as `needs_clients` does."""
    return _needs(GENERATORS, test)


def needs_mlflow(test):
    """Mark a test that runs `MLFLOW`, as `needs_clients` does."""
    return _needs(MLFLOW, test)


def needs_model_signing(test):
    """Mark a test that runs `MODEL_SIGNING`, as `needs_clients` does."""
    return _needs(MODEL_SIGNING, test)


def _needs(path, test):
    absent = not path.exists() and "CI" not in os.environ
    return pytest.mark.clients(pytest.mark.skipif(absent, reason="run `make clients` first")(test))
