"""How many random examples a test tries: a quarter in `make test`, all of them in `make test-all`, which sets ALL_EXAMPLES."""

from __future__ import annotations

import os


def examples(n: int) -> int:
    """Return the number of examples of a test that tries `n` in all."""
    return n if os.environ.get("ALL_EXAMPLES") else n // 4
