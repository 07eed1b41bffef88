"""Versions of the packages that built a bundle."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata

import mlrf

_LIBRARIES = ("onnx", "onnxruntime", "numpy", "pyarrow")


def library_versions(library: str, version: str) -> dict[str, str]:
    """Return the versions by distribution of what is installed; that of the model's own library as it reported itself."""
    versions = {"mlrf": mlrf.__version__, library: version}
    for each in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[each] = metadata.version(each)
    return versions
