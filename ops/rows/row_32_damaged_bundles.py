"""Row 32: bundles with a file that is missing, empty or junk, at every command that reads one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from damaged import copied, damages, keyed_bundle
from scoreboard import Finding, Row

_BAD_BUNDLE = 3
_LIMIT_S = 60.0


def _commands(bundle: Path, home: Path) -> dict[str, list[str]]:
    state = ["--state-dir", str(home / "state")]
    return {
        "serve": ["serve", str(bundle), "--port", "0", "--workers", "1", *state],
        "publish": ["publish", str(bundle), str(home / "models")],
        "verify": ["verify", str(bundle)],
        "inspect": ["inspect", str(bundle)],
        "features": ["features", "stats", str(bundle), *state],
    }


def _is_refused(arguments: list[str]) -> bool:
    """Whether a command exits with status 3 and prints one line."""
    command = [sys.executable, "-m", "mlrf", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:  # it serves
        return False
    return done.returncode == _BAD_BUNDLE and len(done.stderr.splitlines()) == 1 and not done.stdout


def measure(planted: bool) -> Finding:
    """Damage every file in turn; with the fault, none is damaged."""
    taken, tried = [], 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        sound = keyed_bundle(home)
        for what, damage in [("nothing", lambda _copy: None)] if planted else damages(sound):
            copy = copied(sound, home, damage)
            for command, arguments in _commands(copy, home).items():
                tried += 1
                if not _is_refused(arguments):
                    taken.append(f"{what} at {command}")
            shutil.rmtree(copy)
    return Finding(f"{tried} commands on damaged bundles; not refused: {taken or 'none'}", not taken)


ROW = Row(
    32,
    "a bundle without an engine's file; every file missing, empty or junk; at serve, publish, verify, inspect, features",
    "exit status 3 and one sentence from each",
    "a bundle that is valid",
    measure,
)
