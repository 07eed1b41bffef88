"""A real server for the test suites of callers: `serving(bundle)` in any code, the fixture `mlrf_server` in pytest."""

from __future__ import annotations

from mlrf.testing.server_process import RunningServer, serving

__all__ = ["RunningServer", "serving"]
