"""mlrf: serve gradient-boosted trees at the speed of a second codebase, with reasons and proof."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlrf.builder.build import build
    from mlrf.model import Model, load
    from mlrf.scoring import score

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "build", "load", "score"]

# Imported when asked for: a server must not pay for the builder, nor a builder for an engine.
_LAZY = {"Model": "mlrf.model", "build": "mlrf.builder.build", "load": "mlrf.model", "score": "mlrf.scoring"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mlrf' has no attribute {name!r}")
    if name == "build":
        importlib.import_module("mlrf.builder.required_packages").require_packages()
    return getattr(importlib.import_module(_LAZY[name]), name)
