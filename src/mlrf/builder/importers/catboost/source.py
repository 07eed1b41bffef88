"""The bytes of a CatBoost model, from a file or an object."""

from __future__ import annotations

from mlrf.builder.importers.catboost.cbm_file import MAGIC
from mlrf.builder.model_source import ModelFile, Source
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError


def is_catboost_file(content: bytes) -> bool:
    """Whether a file is a `.cbm` or CatBoost's JSON, valid or damaged."""
    if content.startswith(MAGIC):
        return True
    return content.lstrip()[:1] == b"{" and (b'"oblivious_trees"' in content or b'"features_info"' in content)


def model_bytes(source: Source) -> bytes:
    """Return the bytes of a file as they are, or the `.cbm` file of a fitted CatBoost object."""
    if isinstance(source, ModelFile):
        return source.content
    model = source.value
    if not hasattr(model, "is_fitted") or not hasattr(model, "save_model"):
        raise UnsupportedModelError(f"mlrf builds from a fitted CatBoost model, not from a {type(model).__name__}")
    if not model.is_fitted():
        raise ModelUnreadableError(f"the {type(model).__name__} is not fitted; call its fit first")
    with temporary_folder("catboost") as folder:
        path = folder / "model.cbm"
        model.save_model(str(path), format="cbm")
        return path.read_bytes()
