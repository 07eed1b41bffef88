"""Finds the pipeline in the object given, and writes its preprocessing as a skops file for the parity gate.

The preprocessing goes to the process that answers the golden rows as a skops file of scikit-learn's own types, and the model in
its library's own format: nothing is unpickled there.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any

from mlrf.builder.importers.pipeline.older_steps import complete
from mlrf.builder.importers.pipeline.stored_encoders import with_pandas_tables, with_plain_tables
from mlrf.builder.importers.sklearn.source import dump_skops, load_skops, skops_class
from mlrf.builder.model_source import ModelFile, Source, unfrozen
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

PREPROCESSING_TYPES = (
    "numpy.dtype",
    *(f"numpy.{kind}" for kind in ("number", "integer", "floating", "bool", "object_", "str_")),
    "builtins.object",
    "sklearn.preprocessing.",
    "sklearn.impute.",
    "sklearn.compose.",
    "sklearn.pipeline.",
    "sklearn.feature_selection.",
    "category_encoders.",
)
"""Types of steps that are folded, as prefixes."""
_MODEL_TYPES = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBM",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGB",
    "catboost.core.CatBoost",
)
"""Types in skops files of the boosting libraries' wrappers: their own model as text or bytes, and plain parameters."""


@dataclass(frozen=True, slots=True)
class FittedPipeline:
    """A pipeline divided into preprocessing and model."""

    steps: list[tuple[str, Any]]
    """All steps except the last."""
    preprocessing: Any
    """The same as a pipeline."""
    model: Any
    """The last step."""
    model_name: str
    n_columns: int
    names: tuple[str, ...] | None
    """Names of the raw columns; None for a pipeline that was trained on an array."""


def is_pipeline(value: Any) -> bool:
    """Whether an object is a scikit-learn pipeline, or of a class that inherits from it."""
    return any(
        kind.__name__ == "Pipeline" and kind.__module__.startswith("sklearn.pipeline") for kind in type(value).__mro__
    )


def is_pipeline_file(content: bytes) -> bool:
    """Whether a file is a skops archive whose object is a pipeline."""
    module, _ = skops_class(content) or ("", "")
    return module in ("sklearn.pipeline", "imblearn.pipeline")


def open_pipeline(source: Source) -> FittedPipeline:
    """Return the parts of a pipeline, an object or a skops file; the BuildError says what is wrong with it."""
    if isinstance(source, ModelFile):
        pipeline = unfrozen(load_skops(source.content, also=(*PREPROCESSING_TYPES, *_MODEL_TYPES)))
    else:
        pipeline = source.value
    if type(pipeline).__module__.partition(".")[0] != "sklearn":
        raise UnsupportedModelError(
            f"mlrf supports scikit-learn's Pipeline, not {type(pipeline).__module__}.{type(pipeline).__name__}: make a "
            "sklearn.pipeline.Pipeline of its fitted steps without the samplers, and build from that"
        )
    steps = [(str(name), unfrozen(step)) for name, step in pipeline.steps]
    while is_pipeline(steps[-1][1]):
        steps[-1:] = [(str(name), unfrozen(step)) for name, step in steps[-1][1].steps]
    if not steps or steps[-1][1] is None or isinstance(steps[-1][1], str):
        raise UnsupportedModelError("the pipeline does not end in a model; add the fitted model as its last step")
    steps = [(name, step) for name, step in steps[:-1] if step is not None and step != "passthrough"] + steps[-1:]
    if len(steps) == 1:
        raise UnsupportedModelError(
            "the pipeline has no step before its model; build from the model itself, pipeline[-1]"
        )
    from sklearn.pipeline import Pipeline  # noqa: PLC0415  the caller has a pipeline, so it is installed

    for _, step in steps[:-1]:
        complete(step)
    # A pipeline asks its first step, which `passthrough` cannot answer.
    preprocessing = Pipeline(steps[:-1])
    n_columns = getattr(preprocessing, "n_features_in_", None)
    if n_columns is None:
        raise ModelUnreadableError("the pipeline is not fitted; call its fit first")
    names = getattr(preprocessing, "feature_names_in_", None)
    return FittedPipeline(
        steps[:-1],
        preprocessing,
        steps[-1][1],
        steps[-1][0],
        int(n_columns),
        None if names is None else tuple(str(name) for name in names),
    )


def pack_source(preprocessing: Any, model: bytes) -> bytes:
    """Return an archive of a fitted preprocessing (as skops) and of a model in its library's own format."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("preprocessing.skops", dump_skops(with_plain_tables(preprocessing)))
        archive.writestr("model", model)
    return packed.getvalue()


def unpack_source(packed: bytes) -> tuple[Any, bytes]:
    """Return the arguments of `pack_source`."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        preprocessing = load_skops(archive.read("preprocessing.skops"), also=PREPROCESSING_TYPES)
        return with_pandas_tables(preprocessing), archive.read("model")
