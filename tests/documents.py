"""Extracts fenced blocks by language, and their commands, from documents."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, "" for those that name none."""
    parts = f"\n{text}".split("\n```")
    return [inside.partition("\n")[2] + "\n" for inside in parts[1::2] if inside.partition("\n")[0] == language]


def commands(text: str, name: str) -> list[str]:
    """The lines of blocks without a language that begin with a command, without their comments."""
    lines = [line.split(" #")[0].strip() for block in blocks(text, "") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{name} ")]


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a folder; `mlrf` is the one under test unless `variables` name another PATH."""
    path = variables.get("PATH", f"{BIN}:{os.environ['PATH']}")
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, **variables, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
