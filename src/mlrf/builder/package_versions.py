"""Versions of the packages that built a bundle."""

from __future__ import annotations

from importlib import metadata

import mlrf

_LIBRARIES = ("onnx", "onnxruntime", "numpy", "pyarrow")


def library_versions(library: str, version: str) -> dict[str, str]:
    """Return the versions by distribution; that of the model's own library as it reported itself."""
    return {"mlrf": mlrf.__version__, library: version, **{each: metadata.version(each) for each in _LIBRARIES}}
