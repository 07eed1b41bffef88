"""`Model`: the schema, engine and link of one bundle, ready to predict."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlrf.model.model import Model
    from mlrf.model.open_model import load

__all__ = ["Model", "load"]

_LAZY = {"Model": "mlrf.model.model", "load": "mlrf.model.open_model"}
"""Imported on first use: a server imports modules of this package, and none of these."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mlrf.model' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
