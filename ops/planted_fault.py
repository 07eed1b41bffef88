"""A plugin of pytest (`-p planted_fault`) that runs the Python in PLANTED_FAULT before the tests are collected."""

from __future__ import annotations

import os

exec(os.environ.get("PLANTED_FAULT", ""))  # noqa: S102  written by the rows of the scoreboard
