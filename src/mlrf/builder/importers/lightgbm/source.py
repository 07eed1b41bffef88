"""The model text of a file, a Booster, or a scikit-learn wrapper, as an object or in a skops file."""

from __future__ import annotations

from mlrf.builder.class_labels import fitted_labels
from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.builder.importers.lightgbm.skops_file import is_skops, read_skops
from mlrf.builder.model_source import ModelFile, Source
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError


def model_text(source: Source) -> tuple[bytes, tuple[ClassLabel, ...] | None]:
    """Return the model's text and, from a fitted classifier, its class labels.

    For a Booster, the trees that its predict uses: those up to its best iteration.
    """
    if isinstance(source, ModelFile):
        if is_skops(source.content):
            return read_skops(source.content)
        if source.content.startswith(b"tree\r\n"):
            # A checkout on Windows; each tree's size is still compared with the text.
            return source.content.replace(b"\r\n", b"\n"), None
        return source.content, None
    model, classes = source.value, None
    if hasattr(model, "boosters"):
        raise UnsupportedModelError(
            f"a {type(model).__name__} contains the {len(model.boosters)} models of a cross-validation; build from one of them"
        )
    if hasattr(type(model), "booster_"):
        # What the properties `booster_` and `classes_` return; the properties report an old LightGBM's pickle as not fitted.
        booster = getattr(model, "_Booster", None)
        if booster is None:
            raise ModelUnreadableError(f"the {type(model).__name__} is not fitted; call its fit first")
        classes, model = fitted_labels(getattr(model, "_classes", None)), booster
    if not hasattr(model, "model_to_string"):
        raise UnsupportedModelError(
            f"mlrf builds from the path of a LightGBM text model, a Booster or a scikit-learn wrapper, "
            f"not from {type(model).__name__}"
        )
    return str(model.model_to_string()).encode(), classes
