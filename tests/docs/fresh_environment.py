"""A fresh environment in which the README's own install line has run, and nothing else."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

from documents import ROOT


def install(line: str, folder: Path) -> None:
    """Create an environment in `folder` and run a `pip install` line in it, from the root of the clone."""
    assert line.startswith("pip install "), line
    venv.create(folder, with_pip=True)
    subprocess.run(["bash", "-ec", line], cwd=ROOT, env=variables(folder), check=True, timeout=1_200)


def variables(folder: Path) -> dict[str, str]:
    """Return the variables of a shell in which that environment is active."""
    outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return outside | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
