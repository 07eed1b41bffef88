"""Finds models in the directories where platforms mount them into a container (`--find-bundle`)."""

from __future__ import annotations

import os
from pathlib import Path

from mlrf.core.errors import ConfigError
from mlrf.core.local_path import scheme_of
from mlrf.core.manifest import MANIFEST
from mlrf.core.repository import model_directories

MOUNTS = ("/opt/ml/model", "/mnt/models", "/models")
"""The directories of models in containers of SageMaker and `mlrf image`, of KServe, and in this project's own image."""
STORAGE_URI = "AIP_STORAGE_URI"
"""The variable in which Vertex AI gives the address of a model's files."""


def find_mounted(storage_uri: str | None = None, root: Path = Path("/")) -> Path:
    """Return the bundle or repository in the only non-empty mount below `root`; ConfigError if there are none or several.

    `storage_uri`, the value of `AIP_STORAGE_URI`, is one more candidate; None on other platforms.
    """
    candidates = [root / each.lstrip("/") for each in MOUNTS]
    if storage_uri:
        if (scheme := scheme_of(storage_uri)) is not None:
            raise ConfigError(
                f"{STORAGE_URI}: addresses of {scheme} are not fetched; put the bundle into the image with `mlrf image`",
                option=STORAGE_URI,
            )
        candidates.append(Path(storage_uri))
    found = {path.resolve(): path for path in candidates if _entries(path)}
    if not found:
        raise ConfigError(
            f"BUNDLE: no model is mounted at {', '.join(map(str, candidates))}; mount a bundle at one of them, or name one",
            option="BUNDLE",
        )
    if len(found) > 1:
        mounted = " and ".join(map(str, found.values()))
        raise ConfigError(f"BUNDLE: there are models at {mounted}; name the one to serve", option="BUNDLE")
    return model_path_in(next(iter(found.values())))


def model_path_in(path: Path) -> Path:
    """Return a directory, or its only subdirectory if only that holds a model."""
    if (path / MANIFEST).exists() or model_directories(path):
        return path
    below = [path / name for name in _entries(path)]
    models = [each for each in below if (each / MANIFEST).exists() or model_directories(each)]
    if len(models) > 1:
        names = ", ".join(map(str, models))
        raise ConfigError(f"BUNDLE: {path} holds several models: {names}; name those to serve", option="BUNDLE")
    return models[0] if models else path


def _entries(path: Path) -> list[str]:
    """Return the names in a directory without hidden ones and those that file systems create; none if it cannot be read."""
    try:
        names = sorted(entry.name for entry in os.scandir(path))
    except OSError:
        return []
    return [each for each in names if not each.startswith(".") and each != "lost+found"]
