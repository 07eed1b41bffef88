"""Row 35: a model of 21,241 features, and one of 100,000, built under a memory limit."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from scoreboard import Bar, Finding, Row
from wide_models import wide_model_text

_BUILD = """
import sys
from mlrf.builder.parity import gate
from mlrf.cli.app import run

if sys.argv[3] == "planted":
    gate._MIN_STORED_BYTES = 1 << 34  # store all rows completely
sys.exit(run(["build", sys.argv[1], "--out", sys.argv[2], "--name", "wide"]))
"""
_MEMORY_MB, _CPU_S, _TIMES = 2_000, 120, 4


def _built(n_features: int, n_trees: int, *, planted: bool) -> list[Bar]:
    with tempfile.TemporaryDirectory(prefix="mlrf-wide-") as name:
        model, bundle = Path(name) / "model.txt", Path(name) / "bundle"
        model.write_text(wide_model_text(n_features, n_trees))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", _BUILD, str(model), str(bundle), "planted" if planted else "sound"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times = sum(path.stat().st_size for path in bundle.iterdir()) / model.stat().st_size
        what = f"{n_features:,} features, {model.stat().st_size / 1e6:.1f} MB of text:"
        return [
            Bar(f"{what} bundle / model", times, _TIMES),
            Bar(f"{what} peak MB", after.ru_maxrss / 1024, _MEMORY_MB),
            Bar(f"{what} CPU s", cpu_s, _CPU_S),
        ]


def measure(planted: bool) -> Finding:
    """Build both; with the fault, the bundle stores every golden row completely, however wide."""
    return Finding.of(*_built(21_241, 2_000, planted=planted), *_built(100_000, 1_500, planted=planted))


def brief(planted: bool) -> Finding:
    """Build one model a tenth as wide."""
    return Finding.of(*_built(2_000, 150, planted=planted))


ROW = Row(
    35,
    "models of 21,241 and of 100,000 features",
    f"built in < {_MEMORY_MB / 1000:g} GB and < {_CPU_S} s of CPU, bundle <= {_TIMES}x the model",
    "a bundle that stores complete golden rows without a limit",
    measure,
    brief,
)
