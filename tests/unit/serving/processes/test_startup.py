"""What a start imports: each module costs every start, and every process its memory."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
import sys
from mlrf.serving.processes.deferred_imports import defer_unused_imports
defer_unused_imports()
import mlrf.cli.exit_status, mlrf.cli.serve, mlrf.serving.processes.startup, mlrf.serving.processes.run_server
print(*sys.modules)
"""


def imported() -> set[str]:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=300, check=True)
    return set(done.stdout.split())


def test_a_start_compiles_no_dataclasses():
    """A dataclass compiles its methods whenever it is imported, which took a tenth of a start."""
    assert "mlrf.serving.processes.run_server" in (names := imported())
    assert "dataclasses" not in names
