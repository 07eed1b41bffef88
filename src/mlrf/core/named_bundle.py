"""Opens bundles by name: a directory, or a model of a repository as REPOSITORY/NAME or REPOSITORY/NAME@VERSION.

All commands and the Python API accept such names.
"""

from __future__ import annotations

from pathlib import Path

from mlrf.core.bundle import Bundle, read_bundle
from mlrf.core.errors import ConfigError
from mlrf.core.repository import ModelDirectory, Version, model_directories


def open_bundle(path: Path) -> Bundle:
    """Read the bundle of a name; BundleError when it is damaged, ConfigError when the name is ambiguous."""
    if path.exists():
        found = model_directories(path)
        return read_bundle(path) if not found else _only(path, found).read(_only(path, found).pointer().version)
    named = _named_version(path)
    return read_bundle(path) if named is None else named[0].read(named[1])


def version_directory(path: Path) -> Path:
    """Return the directory of a version named REPOSITORY/NAME@VERSION; any other path is returned unchanged."""
    named = None if path.exists() else _named_version(path)
    return path if named is None else named[0].path / str(named[1].number)


def _named_version(path: Path) -> tuple[ModelDirectory, Version] | None:
    name, at, version = path.name.rpartition("@")
    if not (name and at):
        return None
    directory = path.with_name(name)
    found = model_directories(directory)
    return None if not found else ((only := _only(directory, found)), only.find(version))


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
