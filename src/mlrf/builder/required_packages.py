"""Checks that the packages for building are installed. This module itself imports none of them."""

from __future__ import annotations

import importlib.util

from mlrf.core.errors import ConfigError

_NEEDED = ("onnx", "pyarrow")


def require_packages() -> None:
    """Raise ConfigError if a package that every build needs is missing; it names them and how to install them.

    A training library is needed only for its own models (see parity/reference_runner.py).
    """
    if absent := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"building needs {', '.join(absent)}: pip install 'mlrf[build]'")
