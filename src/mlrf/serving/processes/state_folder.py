"""Folders under --state-dir that the server makes when it starts."""

from __future__ import annotations

from pathlib import Path

from mlrf.core.errors import ConfigError


def make_state_folder(folder: Path, contents: str) -> None:
    """Make a folder for `contents` (a noun, for the message) and those above it; ConfigError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--state-dir: the directory {folder} for {contents} cannot be created: {error.strerror}",
            option="--state-dir",
        ) from error
