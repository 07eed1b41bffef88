"""Opening a model by the path of its bundle: `load`, and what a pickled model does."""

from __future__ import annotations

import os
from pathlib import Path

from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError
from mlrf.core.named_bundle import open_bundle
from mlrf.engines.selection import open_engine
from mlrf.model.model import Model


def load(path: str | os.PathLike[str], *, engine: str | None = None) -> Model:
    """Return the model of a bundle: check its digests and start an engine; BundleError when the bundle is damaged.

    `path` is a bundle's directory, or a model of a repository: `REPOSITORY/NAME`, `REPOSITORY/NAME@VERSION`.
    """
    bundle = open_bundle(Path(path))
    return Model(bundle, open_engine(bundle, engine))


def reopen(path: str, version: str, engine: str) -> Model:
    """Return the model that was pickled; BundleError when its bundle is gone, damaged, or another version."""
    try:
        bundle = read_bundle(path)
    except BundleError as error:
        raise BundleError(
            f"{error} (a pickled model opens its bundle again: version {version[:12]} must be at {path})",
            **error.details,
        ) from error
    if bundle.version != version:
        raise BundleError(
            f"{path}: the pickled model is version {version[:12]} of its bundle, and version {bundle.short_version} is there; "
            "pickle the model again, or load the bundle by its path"
        )
    return Model(bundle, open_engine(bundle, engine))
