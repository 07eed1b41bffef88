"""MLflow model directories: finds the model file that `MLmodel` names.

`MLmodel` is YAML that MLflow itself writes, indented by two spaces. Only `flavors: <library>: <file>` is needed, so the
lines are read without a YAML library.
"""

from __future__ import annotations

from pathlib import Path

from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

_MAX_BYTES = 4 << 20
_FILE_KEYS = ("data", "pickled_model", "skops_file", "model_data")
_FLAVORS = ("lightgbm", "xgboost", "catboost", "onnx", "sklearn")
"""In the order of preference: a library's own file before a pickle of it."""


def model_file_of(directory: Path) -> Path:
    """Return the model file of an MLflow directory; ModelUnreadableError if it is not one, or names no file inside it."""
    listing = directory / "MLmodel"
    if not listing.is_file():
        raise ModelUnreadableError(
            f"{directory} is a directory without an MLmodel file, so it is not an MLflow model; give the model file itself"
        )
    if listing.stat().st_size > _MAX_BYTES:
        raise ModelUnreadableError(f"{listing} is larger than any file of this name that MLflow writes")
    flavors = _flavors(listing.read_text(encoding="utf-8", errors="replace"))
    for flavor in _FLAVORS:
        for key in _FILE_KEYS:
            if named := flavors.get(flavor, {}).get(key):
                return _inside(directory, named)
    known = ", ".join(sorted(flavors)) or "none"
    raise UnsupportedModelError(f"the MLflow model {directory} has no flavor that mlrf reads (it has {known})")


def _inside(directory: Path, named: str) -> Path:
    path = directory / named
    # Only MLflow's Keras flavor names directories.
    if not path.resolve().is_relative_to(directory.resolve()) or not path.is_file():
        raise ModelUnreadableError(f"the MLflow model {directory} names {named!r}, which is not a file of it")
    return path


def _flavors(text: str) -> dict[str, dict[str, str]]:
    """Return the scalars of each flavor."""
    found: dict[str, dict[str, str]] = {}
    in_flavors, flavor = False, ""
    for line in text.splitlines():
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        depth = len(line) - len(line.lstrip(" "))
        key, _, value = bare.partition(":")
        if depth == 0:
            in_flavors = key == "flavors"
        elif in_flavors and depth == 2:  # noqa: PLR2004  MLflow's own indentation
            flavor = key
            found[flavor] = {}
        elif in_flavors and depth == 4 and flavor:  # noqa: PLR2004
            found[flavor][key] = value.strip().strip("'\"")
    return found
