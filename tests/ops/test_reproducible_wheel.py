"""The same commit gives the same wheel, byte for byte, wherever it is built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def built(folder):
    """Build the wheel of the work tree's files in a folder of their own; return its name and digest."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    source = folder / "source"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(source)]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=1200)
    repair = [str(Path(sys.executable).with_name("auditwheel")), "repair", "--wheel-dir", str(folder)]
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    [wheel] = (folder / "dist").glob("*.whl")
    subprocess.run([*repair, str(wheel)], env=environment, check=True, capture_output=True, timeout=600)
    [repaired] = folder.glob("*.whl")
    return repaired.name, hashlib.sha256(repaired.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_wheel_built_twice_has_the_same_bytes(tmp_path):
    (tmp_path / "second folder").mkdir()
    (tmp_path / "first").mkdir()
    assert built(tmp_path / "first") == built(tmp_path / "second folder")
