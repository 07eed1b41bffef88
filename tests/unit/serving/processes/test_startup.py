"""What a start imports: each module costs every start, and every process its memory."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
import sys
from mlrf.serving.processes.deferred_imports import defer_unused_imports
defer_unused_imports()
import mlrf.cli.exit_status, mlrf.cli.serve
from mlrf.serving.config.loader import read_settings
read_settings(["bundle"], {})
from mlrf.serving.processes.startup import _import_server
_import_server()
print(*(name for name, module in sys.modules.items() if type(module).__name__ != "_DeferredModule"))
"""
UNUSED = {
    "_csv",
    "ast",
    "gettext",
    "gunicorn.config",
    "gunicorn.http",
    "gunicorn.http.errors",
    "inspect",
    "ipaddress",
    "locale",
    "mlrf.features.redis_store",
    "mlrf.model.model",
    "mlrf.serving.processes.builder_process",
    "msgspec.inspect",
    "platform",
    "shutil",
    "ssl",
    "textwrap",
    "tokenize",
}


def imported() -> set[str]:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=300, check=True)
    return set(done.stdout.split())


def test_a_start_compiles_no_dataclasses():
    """A dataclass compiles its methods whenever it is imported, which took a tenth of a start."""
    assert "mlrf.serving.processes.run_server" in (names := imported())
    assert "dataclasses" not in names


def test_a_start_imports_nothing_unused():
    assert "gunicorn.workers.base" in (names := imported())
    assert UNUSED & names == set()
