"""`mlrf.load`: opens a model by the path of its bundle."""

from __future__ import annotations

import os
from pathlib import Path

from mlrf.core.named_bundle import open_bundle
from mlrf.engines.selection import open_engine
from mlrf.model.model import Model


def load(path: str | os.PathLike[str], *, engine: str | None = None) -> Model:
    """Return the model of a bundle, after checking its digests; BundleError if the bundle is damaged.

    `path` is a bundle's directory, or a model of a repository: `REPOSITORY/NAME`, `REPOSITORY/NAME@VERSION`.
    """
    bundle = open_bundle(Path(path))
    return Model(bundle, open_engine(bundle, engine))
