"""Reader of treelite checkpoints: from a file or a `treelite.Model` to an `ImportedModel`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.class_labels import choose_labels
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.join_trees import join_trees
from mlrf.builder.importers.treelite.checkpoint import Checkpoint, read_checkpoint
from mlrf.builder.importers.treelite.trees import TreeReader
from mlrf.builder.model_source import ModelFile, Source
from mlrf.core.errors import ModelUnreadableError, SampleError, UnsupportedModelError
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import NOT_NEGATIVE, Precision
from mlrf.core.link import Link
from mlrf.core.manifest import Task

_MAX_FEATURES, _MAX_OUTPUTS = 1 << 20, 1 << 16
_LINKS = {
    "identity": Link(),
    "identity_multiclass": Link(),
    "signed_square": Link("signed_square"),
    "hinge": Link("step"),
    "exponential": Link("exp"),
    "logarithm_one_plus_exp": Link("log1p_exp"),
    "softmax": Link("softmax"),
}
_SCALED = {"sigmoid": "sigmoid", "multiclass_ova": "sigmoid_each"}


@dataclass(frozen=True, slots=True)
class _Outputs:
    count: int
    task: Task
    link: Link
    n_classes: int | None
    divisor: float


def read_treelite(source: Source, import_options: ImportOptions) -> ImportedModel:
    """Read a checkpoint or a Model; raises a BuildError that says what is wrong.

    A checkpoint has neither names of features nor labels nor names of categories: the options give them.
    """
    raw = source.content if isinstance(source, ModelFile) else _serialized(source.value)
    found = read_checkpoint(raw)
    if import_options.task is not None:
        raise SampleError("a task is given, but a treelite checkpoint defines its own; leave it out")
    if not 1 <= found.n_features <= _MAX_FEATURES:
        raise UnsupportedModelError(
            f"the treelite model has {found.n_features} features; mlrf serves 1 to {_MAX_FEATURES}"
        )
    if not found.trees:
        raise UnsupportedModelError("the treelite model has no trees; train it for at least one round")
    outputs = _outputs(found)
    base = np.asarray(found.base_scores, np.float64)
    if len(base) != outputs.count or not np.all(np.isfinite(base)):
        raise ModelUnreadableError(
            f"the treelite checkpoint is damaged: its base scores are not {outputs.count} numbers"
        )
    reader = TreeReader(found, outputs.count)
    precision = cast("Precision", f"float{8 * found.precision.itemsize}")
    forest = join_trees(
        reader.read(),
        n_features=found.n_features,
        base=base,
        category_sets=list(reader.sets),
        inputs=precision,
        rounding=precision,
        divisor=outputs.divisor,
        base_order="last",
    )
    return ImportedModel(
        forest=replace(forest, no_code_up_to=NOT_NEGATIVE),
        task=outputs.task,
        objective=f"treelite {found.task}, {found.postprocessor}",
        link=outputs.link,
        classes=choose_labels(import_options.classes, None, outputs.n_classes, f"a treelite model of {found.task}"),
        labels_known=import_options.classes is not None,
        features=_features(found, reader.greatest_codes, import_options),
        library="treelite",
        source=raw,
        answers="mlrf.builder.importers.treelite.reference",
        settings={"is_single": precision == "float32", "outputs": outputs.count},
        covers="training" if reader.has_covers else "none",
        notes=("predictions are those of treelite's GTIL; the library that trained the model may round otherwise",),
    )


def _serialized(model: object) -> bytes:
    if not hasattr(model, "serialize_bytes"):
        raise UnsupportedModelError(
            f"mlrf builds from a treelite checkpoint or a treelite Model, not from {type(model).__name__}"
        )
    return bytes(model.serialize_bytes())


def _outputs(found: Checkpoint) -> _Outputs:
    """Return what the outputs are; UnsupportedModelError names what mlrf does not serve."""
    n_targets, classes = found.n_targets, found.n_classes.tolist()
    if n_targets < 1 or len(classes) != n_targets or not all(1 <= n <= _MAX_OUTPUTS for n in classes):
        raise ModelUnreadableError(
            f"the treelite checkpoint is damaged: {n_targets} targets have {classes[:9]} classes"
        )
    if n_targets > 1 and set(classes) != {1}:
        raise UnsupportedModelError(
            f"the treelite model predicts {n_targets} targets of {classes[:9]} classes; mlrf serves one target of several "
            "classes, or several targets of one number each"
        )
    count = n_targets if n_targets > 1 else classes[0]
    if found.postprocessor in _SCALED:
        scale = float(found.sigmoid_alpha)
        if not (np.isfinite(scale) and scale > 0):
            raise ModelUnreadableError(f"the treelite checkpoint is damaged: its sigmoid_alpha is {scale}")
        kind = "sigmoid_each" if count > 1 else _SCALED[found.postprocessor]
        link = Link("sigmoid_each" if kind == "sigmoid_each" else "sigmoid", scale)
    elif found.postprocessor in _LINKS:
        link = _LINKS[found.postprocessor]
    else:
        raise UnsupportedModelError(
            f"the treelite model ends in {found.postprocessor!r}, which mlrf does not serve (it serves "
            f"{', '.join(sorted([*_LINKS, *_SCALED]))})"
        )
    task = _task(found, count, link)
    n_classes = {"binary": 2, "multiclass": count}.get(task)
    return _Outputs(count, task, link, n_classes, _divisor(found, count))


def _task(found: Checkpoint, count: int, link: Link) -> Task:
    if found.task == "isolation":
        raise UnsupportedModelError(
            "the treelite model is an isolation forest; build from the scikit-learn model itself"
        )
    if found.task == "binary":
        # Without a sigmoid the output is a margin, and several are labels of their own.
        return "binary" if count == 1 and link.kind in ("sigmoid", "step") else "raw"
    if found.task == "multiclass":
        return "multiclass" if found.n_targets == 1 and count > 1 else "raw"
    return "ranking" if found.task == "ranking" else "regression"


def _divisor(found: Checkpoint, count: int) -> float:
    """Return what the sums are divided by: the number of trees of each output, which must be one number."""
    if not found.averages:
        return 1.0
    each = found.class_ if found.n_targets == 1 else found.target
    totals = {int(np.count_nonzero((each == output) | (each < 0))) for output in range(count)}
    if len(totals) != 1 or 0 in totals:
        raise UnsupportedModelError(
            f"the treelite model averages {sorted(totals)} trees for its outputs; mlrf serves one number of trees for all"
        )
    return float(totals.pop())


def _features(found: Checkpoint, greatest: dict[int, int], options: ImportOptions) -> tuple[Feature, ...]:
    names = options.feature_names or tuple(f"f{index}" for index in range(found.n_features))
    if len(names) != found.n_features:
        raise SampleError(f"{len(names)} feature names are given for a model of {found.n_features} features")
    check_category_names(options.categories, list(names))
    return tuple(_feature(name, greatest.get(index), options) for index, name in enumerate(names))


def _feature(name: str, greatest: int | None, options: ImportOptions) -> Feature:
    listed = options.categories.get(name)
    if greatest is None:
        if listed is not None:
            raise SampleError(
                f"feature {name!r}: no node tests its categories, so it is a number; leave its list out", feature=name
            )
        return Feature(name, Kind.NUMERIC)
    if listed is None:
        return Feature(name, Kind.CATEGORICAL, example=0)
    if greatest >= len(listed):
        raise SampleError(
            f"feature {name!r}: the model splits by category code {greatest}, but only {len(listed)} categories are listed",
            feature=name,
        )
    try:
        return Feature(name, Kind.CATEGORICAL, tuple(listed), example=listed[0] if listed else None)
    except ValueError as error:
        raise SampleError(str(error), feature=name) from error
