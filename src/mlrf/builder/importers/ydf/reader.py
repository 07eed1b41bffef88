"""Reader of YDF models: from the files of a directory, or a ydf model, to an `ImportedModel`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.class_labels import choose_labels
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.join_trees import TreeArrays, join_trees
from mlrf.builder.importers.ydf.nodes import read_nodes
from mlrf.builder.importers.ydf.protobuf import Message
from mlrf.builder.importers.ydf.trees import TreeReader
from mlrf.builder.importers.ydf_directory import DATA_SPEC, HEADER, KIND_HEADERS, join_files, split_files, ydf_files
from mlrf.builder.model_source import ModelFile, Source
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.errors import ModelUnreadableError, SampleError, UnsupportedModelError
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import LEAF
from mlrf.core.link import Link
from mlrf.core.manifest import Task

_NUMERICAL, _CATEGORICAL, _BOOLEAN = 1, 4, 7
_COLUMN_TYPES = ("unknown", "numerical", "numerical set", "numerical list", "categorical", "categorical set",
                 "categorical list", "boolean", "string", "discretized numerical", "hash", "vector sequence")  # fmt: skip
_CLASSIFICATION, _REGRESSION, _RANKING = 1, 2, 3
_BINOMIAL, _SQUARED, _MULTINOMIAL, _NDCG5, _XE_NDCG, _FOCAL, _MAE, _NDCG = 1, 2, 3, 4, 5, 6, 8, 9
_BY_LOSS: dict[int, tuple[Task, Link]] = {
    _BINOMIAL: ("binary", Link("sigmoid")),
    _FOCAL: ("binary", Link("sigmoid")),
    _MULTINOMIAL: ("multiclass", Link("softmax")),
    _SQUARED: ("regression", Link()),
    _MAE: ("regression", Link()),
    **dict.fromkeys((_NDCG5, _XE_NDCG, _NDCG), ("ranking", Link())),
}
_MAX_TREES = 1 << 24
_QUICK_SCORER_LEAVES = 64


@dataclass(frozen=True, slots=True)
class _Head:
    """The headers of a model."""

    is_boosted: bool
    kind: Message
    task: int
    classes: list[str]
    features: tuple[Feature, ...]
    columns: dict[int, int]
    """The feature of each column of the data specification."""

    @property
    def n_trees(self) -> int:
        return self.kind.integer(2)


def read_ydf(source: Source, import_options: ImportOptions) -> ImportedModel:
    """Read the joined files of a directory, or a ydf model; raises a BuildError that says what is wrong."""
    raw = source.content if isinstance(source, ModelFile) else _saved(source.value)
    files = split_files(raw)
    head = _read_head(files)
    check_category_names(import_options.categories, [feature.name for feature in head.features])
    if import_options.categories:
        raise SampleError("the YDF model defines its categories itself; leave the lists out")
    task, link, outputs = _outputs(head)
    base = np.zeros(outputs)
    if head.is_boosted:
        found = head.kind.floats(4, "<f")
        if len(found) != outputs or not np.all(np.isfinite(found)):
            raise ModelUnreadableError(f"the YDF model is damaged: its initial predictions are not {outputs} numbers")
        base = np.array(found, np.float64)
    nodes = read_nodes(files, head.kind.integer(1), head.kind.text(7, "TFE_RECORDIO"))
    reader = TreeReader(nodes, head.columns, head.features, _leaf_values(head, outputs))
    every = tuple(range(outputs))
    trees = [reader.read((index % outputs,) if head.is_boosted else every) for index in range(head.n_trees)]
    if next(nodes, None) is not None:
        raise ModelUnreadableError(
            f"the YDF model is damaged: it has more nodes than those of its {head.n_trees} trees"
        )
    forest = join_trees(
        trees,
        n_features=len(head.features),
        base=base,
        category_sets=list(reader.sets),
        inputs="float32",
        rounding="float32",
        base_order="first" if not head.is_boosted or _begins_with_base(trees, outputs, reader) else "last",
    )
    n_classes = {"binary": 2, "multiclass": outputs}.get(task)
    name = "gradient boosted trees" if head.is_boosted else "random forest"
    return ImportedModel(
        forest=forest,
        task=task,
        objective=f"YDF {name}",
        link=link,
        classes=choose_labels(import_options.classes, head.classes or None, n_classes, f"a YDF {name} of this task"),
        features=head.features,
        library="ydf",
        source=raw,
        answers="mlrf.builder.importers.ydf.reference",
        settings={
            "outputs": outputs,
            "columns": [
                [feature.name, feature.kind.value, list(feature.categories or ())] for feature in head.features
            ],
        },
        class_at_half=1,
        covers="training" if reader.has_covers else "none",
        known_codes_only=tuple(i for i, feature in enumerate(head.features) if feature.kind is Kind.CATEGORICAL),
        notes=_notes(head),
    )


def _begins_with_base(trees: Sequence[TreeArrays], outputs: int, reader: TreeReader) -> bool:
    """Return whether YDF adds the trees to the initial predictions: its QuickScorer does, its other engines add these last.

    It takes that engine for one output, trees that fit in a mask of 64 bits, and no test of whether a number is missing.
    """
    n_leaves = max(int(np.count_nonzero(tree.feature == LEAF)) for tree in trees)
    return outputs == 1 and n_leaves <= _QUICK_SCORER_LEAVES and not reader.tests_missing


def _saved(model: Any) -> bytes:
    if not hasattr(model, "save"):
        raise UnsupportedModelError(f"mlrf builds from a YDF model or its directory, not from {type(model).__name__}")
    with temporary_folder("ydf") as folder:
        model.save(str(Path(folder) / "model"))
        return join_files(ydf_files(Path(folder) / "model") or {})


def _read_head(files: dict[str, bytes]) -> _Head:
    kinds = [name for name in KIND_HEADERS if name in files]
    if len(kinds) != 1 or HEADER not in files or DATA_SPEC not in files:
        others = ", ".join(sorted(name for name in files if name.endswith("_header.pb"))) or "no header"
        raise UnsupportedModelError(
            f"the YDF model has {others}; mlrf reads gradient boosted trees and random forests of YDF"
        )
    header, kind = Message(files[HEADER], "the header"), Message(files[kinds[0]], "the header of its kind")
    columns = Message(files[DATA_SPEC], "the data specification").messages(1, "a column")
    inputs, label = header.integers(5), header.integer(3)
    if (
        not inputs
        or not all(0 <= column < len(columns) for column in [*inputs, label])
        or len(set(inputs)) != len(inputs)
    ):
        raise header.error("names a column that does not exist, or none")
    if not 1 <= kind.integer(2) <= _MAX_TREES or not 1 <= kind.integer(1) <= _MAX_TREES:
        raise UnsupportedModelError("the YDF model has no trees; train it for at least one round")
    features = tuple(_feature(columns[column]) for column in inputs)
    if len({feature.name for feature in features}) != len(features):
        raise header.error("has two features of the same name")
    classes = _items(columns[label])[1:] if header.integer(2) == _CLASSIFICATION else []
    positions = {column: index for index, column in enumerate(inputs)}
    return _Head(kinds[0] == KIND_HEADERS[0], kind, header.integer(2), classes, features, positions)


def _feature(column: Message) -> Feature:
    name, kind = column.text(2), column.integer(1)
    if not name:
        raise column.error("has no name")
    if kind == _NUMERICAL:
        return Feature(name, Kind.NUMERIC, example=0.0)
    if kind == _BOOLEAN:
        return Feature(name, Kind.BOOLEAN, nullable=False)
    if kind != _CATEGORICAL:
        what = _COLUMN_TYPES[kind] if 0 <= kind < len(_COLUMN_TYPES) else str(kind)
        raise UnsupportedModelError(
            f"feature {name!r} of the YDF model is {what}; mlrf serves numerical, boolean and categorical features of YDF"
        )
    if column.message(6, "categories").integer(5):
        raise UnsupportedModelError(
            f"feature {name!r} of the YDF model has categories that are integers of their own (as TF-DF makes of integers), "
            "which mlrf does not support; train it on strings"
        )
    listed = _items(column)
    try:
        return Feature(name, Kind.CATEGORICAL, tuple(listed), example=listed[-1] if listed else None)
    except ValueError as error:
        raise column.error(f"has categories that mlrf cannot list: {error}") from error


def _items(column: Message) -> list[str]:
    """Return the categories of a column in the order of their indices, the one for unseen values first."""
    named: dict[int, str] = {}
    for entry in column.message(6, "categories").messages(7, "a category"):
        named[entry.message(2, "a category").integer(1)] = entry.text(1)
    if sorted(named) != list(range(len(named))):
        raise column.error("lists categories whose numbers have gaps")
    return [named[index] for index in range(len(named))]


def _outputs(head: _Head) -> tuple[Task, Link, int]:
    """Return task, link and number of outputs; UnsupportedModelError names a task or loss that mlrf does not serve."""
    if head.is_boosted:
        loss = head.kind.integer(3)
        if loss not in _BY_LOSS or head.kind.integer(9):
            what = f"has the loss {loss}" if loss not in _BY_LOSS else "returns logits (output_logits)"
            raise UnsupportedModelError(
                f"the YDF model {what}, which mlrf does not serve; it serves squared and absolute errors, binomial, focal and "
                "multinomial likelihood, and the ranking losses"
            )
        task, link = _BY_LOSS[loss]
        outputs = len(head.classes) if task == "multiclass" else 1
        if head.kind.integer(5, 1) != outputs:
            raise head.kind.error(f"has {head.kind.integer(5, 1)} trees an iteration for {outputs} outputs")
    elif head.task in (_CLASSIFICATION, _REGRESSION):
        outputs = 1 if head.task == _REGRESSION or len(head.classes) == 2 else len(head.classes)  # noqa: PLR2004
        task = "regression" if head.task == _REGRESSION else "binary" if outputs == 1 else "multiclass"
        # A float32 sum of shares may be the number after 1.
        link = Link() if task == "regression" else Link("clip")
    else:
        raise UnsupportedModelError(
            f"the YDF random forest has the task {head.task}; mlrf serves classification and regression"
        )
    if task in ("binary", "multiclass") and len(head.classes) < 2:  # noqa: PLR2004
        raise head.kind.error(f"classifies {len(head.classes)} classes")
    return task, link, outputs


def _leaf_values(head: _Head, outputs: int) -> Any:
    """Return the function from a leaf to what it adds, in YDF's arithmetic: a forest adds each tree's share in float32."""
    if head.is_boosted:
        return lambda leaf: (leaf.message(2, "a leaf").float32(1),)
    count = head.n_trees
    if head.task == _REGRESSION:
        return lambda leaf: (float(np.float32(leaf.message(2, "a leaf").float32(1)) / np.float32(count)),)
    chosen = range(2, 3) if outputs == 1 else range(1, outputs + 1)
    votes = bool(head.kind.integer(3, 1))

    def shares(leaf: Message) -> Sequence[float]:
        output = leaf.message(1, "a leaf")
        if votes:
            return [float(np.float32(1) / np.float32(count)) if output.integer(1) == label else 0.0 for label in chosen]
        distribution = output.message(2, "a distribution")
        counts, total = distribution.doubles(1), distribution.doubles(2)
        if len(counts) != len(head.classes) + 1 or not total or not total[-1] > 0:
            raise output.error("has no distribution over the classes")
        return [float(np.float32(counts[label] / total[-1] / count)) for label in chosen]

    return shares


def _notes(head: _Head) -> tuple[str, ...]:
    if all(feature.kind is not Kind.CATEGORICAL for feature in head.features):
        return ()
    return ("YDF treats a category that it has not seen as the category '<OOD>', which may be sent by that name",)
