"""Checks that the packages for building are installed. This module itself imports none of them."""

from __future__ import annotations

import importlib.util

from mlrf.core.errors import ConfigError

_NEEDED = ("onnx", "pyarrow")


def require_packages() -> None:
    """Refuse to go on without the packages that every build needs: ConfigError names them and how to get them.

    The training library is missed only by the models that are its own (see parity/library.py).
    """
    if absent := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"building needs {', '.join(absent)}: pip install 'mlrf[build]'")
