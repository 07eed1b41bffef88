"""Names of bundles: a directory, or a model of a repository as REPOSITORY/NAME or REPOSITORY/NAME@VERSION.

Every command, and the Python API, opens a bundle by such a name.
"""

from __future__ import annotations

from pathlib import Path

from mlrf.core.bundle import Bundle, read_bundle
from mlrf.core.errors import ConfigError
from mlrf.core.repository import ModelDirectory, model_directories


def open_bundle(path: Path) -> Bundle:
    """Read the bundle of a name; BundleError when it is damaged, ConfigError when the name is ambiguous."""
    if path.exists():
        found = model_directories(path)
        return read_bundle(path) if not found else _only(path, found).read(_only(path, found).pointer().version)
    name, at, version = path.name.rpartition("@")
    directory = path.with_name(name) if at and name else path
    found = model_directories(directory) if directory.is_dir() else []
    return read_bundle(path) if not found else _only(directory, found).read(_only(directory, found).find(version))


def open_model_directory(path: Path) -> ModelDirectory:
    """Return the model directory of a name; ConfigError when there is none or several."""
    return _only(path, model_directories(path))


def _only(path: Path, found: list[ModelDirectory]) -> ModelDirectory:
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(path / directory.name) for directory in found)
    if found:
        raise ConfigError(f"{path} is a repository of several models; name one of {names}")
    raise ConfigError(f"{path} is not a model of a repository; name one as REPOSITORY/NAME")
