"""mlrf: builds bundles from gradient-boosted tree models, and serves them with exact explanations.

The public names are imported on first use: a server must not import the builder, nor the builder an engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlrf.builder.build import build
    from mlrf.model import Model, load
    from mlrf.scoring import score

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "build", "load", "score"]

_LAZY = {"Model": "mlrf.model", "build": "mlrf.builder.build", "load": "mlrf.model", "score": "mlrf.scoring"}


_ENGINES = ("dask", "duckdb", "polars", "ray", "spark")
"""Modules for other libraries' tables: `mlrf.duckdb` needs no import of its own."""


def __getattr__(name: str) -> Any:
    if name in _ENGINES:
        return importlib.import_module(f"mlrf.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'mlrf' has no attribute {name!r}")
    if name == "build":
        importlib.import_module("mlrf.builder.build_extra").require_packages()
    return getattr(importlib.import_module(_LAZY[name]), name)
