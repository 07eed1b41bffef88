"""Recognises model files and objects of unsupported formats, so that the error names the format and what to do instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_HEAD_BYTES = 4096
_DUMPED_TREE = re.compile(rb'\s*(\[\s*"?\s*)?(0:(\[|leaf=)|\{\s*\\?"nodeid\\?")')
"""Prefixes of the strings of XGBoost's `get_dump`, as text and as JSON."""
_LIGHTGBM_DUMP = re.compile(rb'\s*\{\s*"name"\s*:\s*"tree"')

_PMML = "a PMML document, whose numbers are rounded; mlrf does not read it: save the model with its own library"
_MOJO = "an H2O MOJO; mlrf does not read it: train with XGBoost or LightGBM, or export the model to ONNX"
_TAR = "a tar archive; extract it, and give the model file that it holds"
_TAR_MAGIC_AT = 257
_HDF5 = "a Keras or other HDF5 file; mlrf serves neural networks as ONNX only: export it with tf2onnx"
_DUMP_OF_LIGHTGBM = (
    "a dump of LightGBM's trees (Booster.dump_model), which lacks parts of the model; save it with Booster.save_model"
)
_DUMP_OF_XGBOOST = (
    "a dump of XGBoost's trees (dump_model, get_dump), without its objective and base score; save the model itself with "
    "save_model, as .json or .ubj"
)
_QUANTILE_FOREST = (
    "a quantile regression forest, whose answer is a quantile of training rows in its leaves; mlrf does not serve it: train "
    "LightGBM, CatBoost or HistGradientBoostingRegressor with a quantile loss"
)
_OBJECTS = {
    "interpret": "an explainable boosting machine (interpret); mlrf serves it as ONNX only: export it with ebm2onnx",
    "ngboost": "an NGBoost model, which predicts distributions; mlrf does not serve it",
    "quantile_forest": _QUANTILE_FOREST,
    "sklearn_quantile": _QUANTILE_FOREST,
    "tensorflow": "a TensorFlow model; mlrf serves it as ONNX only: export it with tf2onnx",
    "keras": "a Keras model; mlrf serves it as ONNX only: export it with tf2onnx",
    "torch": "a PyTorch model; mlrf serves it as ONNX only: export it with torch.onnx.export",
}


def foreign_file(path: Path, content: bytes) -> str | None:
    """Return what a file is and what to do if it has a known format that mlrf does not read; otherwise None."""
    head = content[:_HEAD_BYTES]
    is_zip = head.startswith(b"PK\x03\x04")
    candidates = {
        _OBJECTS["tensorflow"]: path.name == "saved_model.pb",
        _PMML: b"<PMML" in head,
        _MOJO: is_zip and b"model.ini" in content,
        _DUMP_OF_LIGHTGBM: _LIGHTGBM_DUMP.match(head) is not None,
        _DUMP_OF_XGBOOST: _DUMPED_TREE.match(head) is not None,
        _OBJECTS["interpret"]: head.lstrip().startswith(b"{") and b'"ebm"' in head,
        _TAR: content[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar",
        _HDF5: head.startswith(b"\x89HDF\r\n\x1a\n") or (is_zip and b"model.weights.h5" in content),
        _OBJECTS["torch"]: is_zip and b"/data.pkl" in content and b"/version" in content,
    }
    return next((said for said, is_it in candidates.items() if is_it), None)


def foreign_object(modules: list[str]) -> str | None:
    """Return the same for an object whose class and its bases are defined in `modules`."""
    packages = {module.partition(".")[0] for module in modules}
    return next((said for package, said in _OBJECTS.items() if package in packages), None)


def foreign_container(container: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> str | None:
    """Return the same for a container of objects: what libraries dump their trees into."""
    if isinstance(container, dict):
        return _DUMP_OF_LIGHTGBM if container.get("name") == "tree" and "tree_info" in container else None
    first = container[0] if container else None
    return _DUMP_OF_XGBOOST if isinstance(first, str) and _DUMPED_TREE.match(first[:_HEAD_BYTES].encode()) else None


def foreign_directory(directory: Path) -> str | None:
    """Return the same for a directory."""
    if (directory / "saved_model.pb").is_file():
        return _OBJECTS["tensorflow"]
    if (directory / "metadata").is_dir() and (directory / "data").is_dir():
        return "a model saved by Spark; mlrf does not read it: save the native model with its own library"
    return None
