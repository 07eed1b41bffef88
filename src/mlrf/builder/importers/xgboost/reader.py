"""Reader of XGBoost models: from a document to an `ImportedModel`."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from mlrf.builder.class_labels import choose_labels, fitted_labels
from mlrf.builder.importers.imported_model import ClassLabel, ImportedModel, ImportOptions
from mlrf.builder.importers.xgboost.document import Member, is_document, read_document
from mlrf.builder.importers.xgboost.features import read_features
from mlrf.builder.importers.xgboost.objective import Objective, read_base_score, read_objective
from mlrf.builder.importers.xgboost.trees import to_forest
from mlrf.builder.importers.xgboost.vector_leaves import in_old_layout, leaf_size
from mlrf.builder.model_source import ModelFile, Source
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.forest import LEAF, NUMERIC, Forest

_MAX_FEATURES = 1 << 20
_MAX_OUTPUTS = 1 << 16


@dataclass(frozen=True, slots=True)
class _Given:
    """A document, and what only the object around it contains."""

    raw: bytes
    classes: tuple[ClassLabel, ...] | None = None
    is_wrapper: bool = False
    """Whether it belongs to a scikit-learn wrapper, which predicts up to its best iteration; a Booster uses all."""


def read_xgboost(source: Source, import_options: ImportOptions) -> ImportedModel:
    """Read a JSON or UBJSON model, a Booster or a scikit-learn wrapper; raises a BuildError that says what is wrong."""
    given = _given(source)
    learner = read_document(given.raw)
    name = learner.member("objective").text("name")
    objective = read_objective(name)
    parameters = learner.member("learner_model_param")
    booster, weights = _gradient_booster(learner)
    n_outputs = _n_outputs(parameters, objective)
    objective = objective.of_outputs(n_outputs)
    n_features = parameters.integer("num_feature")
    if not 1 <= n_features <= _MAX_FEATURES:
        raise UnsupportedModelError(f"the model has {n_features} features; mlrf serves 1 to {_MAX_FEATURES}")
    n_trees, iterations, notes = _trees_of_predict(learner, booster, given, n_outputs)
    notes = (*objective.notes, *notes)
    outputs = booster.integers("tree_info")
    trees = booster.members("trees")
    if len(outputs) != len(trees) or np.any((outputs < 0) | (outputs >= n_outputs)):
        raise booster.error("tree_info", f"does not name one of {n_outputs} outputs for each of {len(trees)} trees")
    if not trees[:n_trees]:
        raise UnsupportedModelError("the model has no trees; train it for at least one round")
    has_old_vectors = in_old_layout(trees[:n_trees])
    scores = read_base_score(parameters.text("base_score"))
    if len(scores) not in (1, n_outputs) or not np.all(np.isfinite(scores)):
        raise parameters.error("base_score", f"is not a finite number for each of {n_outputs} outputs")
    forest = to_forest(
        trees[:n_trees],
        outputs[:n_trees],
        None if weights is None else weights[:n_trees],
        n_features=n_features,
        base=np.broadcast_to(objective.margins_of(scores), (n_outputs,)),
    )
    n_classes = {"binary": 2, "multiclass": n_outputs}.get(objective.task)
    if name == "multi:softmax":
        notes += (
            "multi:softmax predicts a label; mlrf predicts its probabilities, as multi:softprob does, and adds the label",
        )
    own_classes = given.classes or _kept_classes(learner)
    return ImportedModel(
        forest=forest,
        task=objective.task,
        objective=name,
        link=objective.link,
        classes=choose_labels(
            import_options.classes,
            own_classes,
            n_classes,
            f"a model of the objective {name}",
        ),
        # multi:softmax predicts the number of a class itself.
        labels_known=import_options.classes is not None or own_classes is not None or name == "multi:softmax",
        features=read_features(learner, booster, n_features, _greatest_codes(forest), import_options.category_names),
        library="xgboost",
        source=given.raw,
        answers="mlrf.builder.importers.xgboost.reference",
        covers="none" if has_old_vectors else "training",
        unused_packages=("pandas", "sklearn", "dask", "matplotlib"),
        settings={
            "iterations": iterations,
            "objective": "multi:softprob" if name == "multi:softmax" else None,
            "has_old_vectors": has_old_vectors,
        },
        notes=notes,
    )


def _given(source: Source) -> _Given:
    if isinstance(source, ModelFile):
        if source.content.startswith((b"booster[", b"[")):
            raise UnsupportedModelError(
                "this is a dump of XGBoost's trees, without its objective and base score; save the model itself with "
                "save_model, as .json or .ubj"
            )
        if not is_document(source.content):
            raise UnsupportedModelError(
                "this is XGBoost's old binary format, which XGBoost itself no longer reads; load it with the XGBoost that "
                "wrote it and save it as .json or .ubj"
            )
        return _Given(source.content)
    model = source.value
    if hasattr(model, "get_booster"):
        missing = getattr(model, "missing", np.nan)
        if missing is not None and missing == missing:  # noqa: PLR0124  NaN is the usual one
            raise UnsupportedModelError(
                f"the {type(model).__name__} reads {missing} as missing (its parameter `missing`), which model files do not "
                f"record; call its set_params(missing=float('nan')), which trains nothing, and send null instead of {missing}"
            )
        try:
            booster = model.get_booster()
        except Exception as error:  # sklearn's NotFittedError, which is not imported for this
            raise ModelUnreadableError(f"the {type(model).__name__} is not fitted; call its fit first") from error
        return _Given(bytes(booster.save_raw("ubj")), fitted_labels(getattr(model, "classes_", None)), is_wrapper=True)
    if not hasattr(model, "save_raw"):
        raise UnsupportedModelError(
            f"mlrf builds from an XGBoost model file, a Booster or a scikit-learn wrapper, not from {type(model).__name__}"
        )
    return _Given(bytes(model.save_raw("ubj")))


def _gradient_booster(learner: Member) -> tuple[Member, np.ndarray[tuple[int], np.dtype[np.float32]] | None]:
    """Return the trees' part of the document, and the weights of dart."""
    booster = learner.member("gradient_booster")
    name = booster.text("name")
    if name == "gbtree" and "model" not in booster:
        raise UnsupportedModelError(
            "this is the configuration of an XGBoost model (Booster.save_config), without its trees; save the model itself "
            "with save_model, as .json or .ubj"
        )
    if name == "gbtree":
        model = booster.member("model")
        # Since XGBoost 3.4 dropout is part of gbtree, and its weights are next to the trees.
        return model, _weights(model, model) if "weight_drop" in model else None
    if name == "dart":
        model = booster.member("gbtree").member("model")
        return model, _weights(booster, model)
    raise UnsupportedModelError(
        f"the model's booster is {name}, but of XGBoost mlrf supports trees only (gbtree, dart); "
        + ("a linear model needs no tree engine" if name == "gblinear" else "train with booster=gbtree"),
        booster=name,
    )


def _weights(holder: Member, model: Member) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return holder.floats("weight_drop", len(model.items("trees")))


def _n_outputs(parameters: Member, objective: Objective) -> int:
    n_classes, n_targets = parameters.integer("num_class", 0), parameters.integer("num_target", 1)
    is_multiclass = objective.task == "multiclass"
    n_outputs = n_classes if is_multiclass else max(n_targets, n_classes, 1)
    if not (2 if is_multiclass else 1) <= n_outputs <= _MAX_OUTPUTS:
        raise parameters.error("num_class", f"is {n_classes} for {n_targets} targets")
    return n_outputs


def _trees_of_predict(
    learner: Member, booster: Member, given: _Given, n_outputs: int
) -> tuple[int, int, tuple[str, ...]]:
    """Return how many trees XGBoost's own predict uses, how many iterations (0: all of them), and a note about it."""
    n_trees = len(booster.items("trees"))
    attributes = learner.member("attributes") if "attributes" in learner else Member({}, "attributes")
    if "best_iteration" not in attributes:
        return n_trees, 0, ()
    best = attributes.integer("best_iteration") + 1
    parallel = 1
    if "gbtree_model_param" in booster:
        parallel = booster.member("gbtree_model_param").integer("num_parallel_tree", 1)
    starts = booster.integers("iteration_indptr").tolist() if "iteration_indptr" in booster else []
    # A round is a tree for each output, or one whose leaves have a value for each.
    has_vectors = any(leaf_size(tree, n_outputs) > 1 for tree in booster.members("trees")[:1])
    a_round = max(1, parallel) * (1 if has_vectors else n_outputs)
    n_used = starts[best] if 0 <= best < len(starts) else best * a_round
    if not 0 < n_used <= n_trees:
        raise attributes.error("best_iteration", f"is {best - 1}, beyond the model's {n_trees} trees")
    if n_used == n_trees:
        return n_trees, 0, ()
    if given.is_wrapper or "scikit_learn" in attributes:
        note = f"early stopping: the trees up to the best iteration, {n_used} of {n_trees}, as the wrapper predicts"
        return n_used, best, (note,)
    note = (
        f"all {n_trees} trees, as Booster.predict does; early stopping's best iteration would use {n_used} of them "
        f"(save booster[:{best}] to serve those)"
    )
    return n_trees, 0, (note,)


def _greatest_codes(forest: Forest) -> dict[int, int]:
    """Return, by column that a categorical node tests, the greatest code in such a node's set."""
    greatest: dict[int, int] = {}
    for node in np.flatnonzero((forest.category_set != NUMERIC) & (forest.feature != LEAF)).tolist():
        feature = int(forest.feature[node])
        codes = forest.category_codes(int(forest.category_set[node]))
        greatest[feature] = max(greatest.get(feature, -1), int(codes[-1]) if len(codes) else -1)
    return greatest


def _kept_classes(learner: Member) -> tuple[ClassLabel, ...] | None:
    """Return the labels that wrappers before XGBoost 1.7 kept in an attribute of the file."""
    if "attributes" not in learner or "scikit_learn" not in learner.member("attributes"):
        return None
    try:
        kept = json.loads(learner.member("attributes").text("scikit_learn")).get("classes_")
    except (ValueError, RecursionError, AttributeError):
        return None
    return fitted_labels(kept) if isinstance(kept, list) else None
