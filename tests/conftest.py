"""Settings and fixtures for tests of more than one folder."""

from __future__ import annotations

import gc
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

import running

_END_TO_END = {"wire", "ops", "docs"}

# OpenMP threads spin while they wait for each other: with shared processors, a second becomes a minute. LightGBM's scikit-learn
# estimators ask for as many threads as there are processors, whatever the first of the variables says.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_THREAD_LIMIT", "1")

# Otherwise every server and command that a test starts compiles mlrf again: half of the processor time of a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine delays a server, which then rightly answers 503 or 408, or replaces a worker that gives no sign of life. Tests of these
# limits set them by options, which count before the environment.
running.PATIENCE = {
    f"MLRF_{name}": "60"
    for name in ("MAX_WAIT", "WORKER_TIMEOUT", "HEADER_TIMEOUT", "REQUEST_TIMEOUT", "WRITE_TIMEOUT")
}

settings.register_profile(
    "shared machine", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect without the garbage collector, and keep what was imported out of its later passes.

    It went through all modules and items again and again: two of eleven seconds of processor time in each process.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """Mark tests that start processes, by folder."""
    for item in items:
        if item.nodeid.split("/")[1] in _END_TO_END:  # pathlib takes ten times as long for thousands of items
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="module", autouse=True)
def default_limits(request):
    """Servers of modules that measure time have the limits of the options' defaults."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("timing"):
            patch.setattr(running, "PATIENCE", {})
        yield


@pytest.fixture
def bundle(tmp_path):
    """A regression bundle with a feature of every kind."""
    from bundles import write_bundle  # noqa: PLC0415  importing onnx costs a second, which most tests need not spend

    return write_bundle(tmp_path / "bundle")


def pytest_make_parametrize_id(config, val, argname):
    """Name bytes that are no text by their parameter: compressed ones contain the time, and each worker must collect the same names."""
    return argname if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()) else None
