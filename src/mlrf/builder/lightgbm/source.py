"""The model text in whatever a caller holds: a path, a Booster, or a scikit-learn wrapper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlrf.builder.imported import ClassLabel
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

MAX_MODEL_BYTES = 4 << 30


def model_text(model: Any) -> tuple[bytes, tuple[ClassLabel, ...] | None]:
    """Return the model's text and, from a fitted classifier, its class labels.

    Of a Booster, what its predict uses: the trees up to its best iteration.
    """
    if isinstance(model, str | os.PathLike):
        return _read(Path(model)), None
    classes = None
    if hasattr(type(model), "booster_"):
        # Of a wrapper that is not fitted the property raises an AttributeError, as if it were none.
        if not hasattr(model, "booster_"):
            raise ModelUnreadableError(f"the {type(model).__name__} is not fitted; call its fit first")
        classes = _labels(getattr(model, "classes_", None))
        model = model.booster_
    if not hasattr(model, "model_to_string"):
        raise UnsupportedModelError(
            f"mlrf builds from the path of a LightGBM text model, a Booster or a scikit-learn wrapper, "
            f"not from {type(model).__name__}"
        )
    return str(model.model_to_string()).encode(), classes


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            reason = "is no regular file" if path.exists() else "does not exist"
            raise ModelUnreadableError(f"the model file {path} {reason}")
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise ModelUnreadableError(f"the model file {path} is larger than {MAX_MODEL_BYTES >> 30} GiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelUnreadableError(f"the model file {path} cannot be read: {error}") from error


def _labels(classes: Any) -> tuple[ClassLabel, ...] | None:
    if classes is None:
        return None
    labels = [label.item() if hasattr(label, "item") else label for label in classes]
    return tuple(label if isinstance(label, str | int | float | bool) else str(label) for label in labels)
