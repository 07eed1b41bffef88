"""The pytest plugin: `mlrf_server(bundle, ...)` starts a server that lives as long as the test session.

Enabled in a `conftest.py` by `pytest_plugins = ["mlrf.testing.plugin"]`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from mlrf.testing.server_process import RunningServer, serving


@pytest.fixture(scope="session")
def mlrf_server() -> Iterator[Callable[..., RunningServer]]:
    """Return a function that serves bundles with options; the same arguments give the same running server."""
    with contextlib.ExitStack() as stack:
        running: dict[tuple[tuple[str, ...], tuple[str, ...]], RunningServer] = {}

        def serve(*bundles: str | os.PathLike[str], options: Sequence[str] = ()) -> RunningServer:
            which = tuple(os.fspath(each) for each in bundles), tuple(options)
            if which not in running:
                running[which] = stack.enter_context(serving(*bundles, options=options))
            return running[which]

        yield serve
