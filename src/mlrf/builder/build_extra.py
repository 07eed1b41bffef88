"""Checks that the packages for building are installed. This module itself imports none of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from mlrf.core.errors import ConfigError

_NEEDED = ("pyarrow",)
_NEEDED_FOR_ONNX = ("onnx", "onnxruntime")
_EXTRA = "pip install 'mlrf[build]'"


def require_packages() -> None:
    """Raise ConfigError if a package that every build needs is missing; it names them and how to install them.

    A training library is needed only for its own models (see parity/reference_runner.py).
    """
    if absent := _absent(_NEEDED):
        raise ConfigError(f"building needs {' and '.join(absent)}: {_EXTRA}")


def require_onnx() -> None:
    """Raise ConfigError if a package that ONNX files are built with is missing."""
    if absent := _absent(_NEEDED_FOR_ONNX):
        raise ConfigError(f"building from an ONNX file needs {' and '.join(absent)}: {_EXTRA}")


def why_no_onnx_export() -> str | None:
    """Return why a forest cannot be exported to ONNX in this environment, and what to do; None if it can.

    The export is left out then: the tree engine serves the bundle, and the file must not be there without its proof.
    """
    if absent := _absent(_NEEDED_FOR_ONNX):
        return (
            f"model.onnx is left out: {' and '.join(absent)} not installed at the build ({_EXTRA}); the tree engine serves the "
            "bundle"
        )
    return None


def _absent(packages: Sequence[str]) -> list[str]:
    return [name for name in packages if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # it is hidden in sys.modules
        return False
