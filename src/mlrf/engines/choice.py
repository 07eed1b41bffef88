"""Which engine answers for a bundle. Engines are imported here and only when chosen: each costs memory and time."""

from __future__ import annotations

from mlrf.core.bundle import ONNX_MODEL, Bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.engines.port import Engine

ENGINES = ("onnxruntime",)


def open_engine(bundle: Bundle, name: str | None = None) -> Engine:
    """Start the named engine for a bundle, or the best one that it has files for.

    ConfigError for an unknown name; BundleError when the bundle's file for it is missing, refused, or of another shape.
    """
    if name not in (None, *ENGINES):
        raise ConfigError(f"unknown engine {name!r}; choose one of {', '.join(ENGINES)}", option="engine")
    from mlrf.engines.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415

    engine = OnnxRuntimeEngine(bundle.file(ONNX_MODEL))
    expected = (bundle.manifest.n_features, bundle.manifest.n_outputs)
    if (engine.n_features, engine.n_outputs) != expected:
        raise BundleError(
            f"{bundle.path}: the model has {engine.n_features} features and {engine.n_outputs} outputs, "
            f"the manifest says {expected[0]} and {expected[1]}",
            file=ONNX_MODEL,
        )
    return engine
