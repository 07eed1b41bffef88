"""`mlrf.build`: from a trained model to a bundle, one step after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import mlrf
from mlrf.builder.bundle_writer import check_output, side_folder, write_bundle
from mlrf.builder.class_labels import read_class_labels
from mlrf.builder.covers import NO_COVERS, with_covers
from mlrf.builder.explained_rows import write_explanations
from mlrf.builder.forest_file.encode import encode_forest
from mlrf.builder.front import import_model
from mlrf.builder.golden_file import Golden, encode_golden
from mlrf.builder.imported import ClassLabel, ImportedModel, Wishes
from mlrf.builder.keyed_rows import keyed_rows, rows_wanted
from mlrf.builder.onnx.export import export_onnx
from mlrf.builder.parity.gate import Exports, Proof, prove
from mlrf.builder.sample import read_category_lists, read_sample, with_examples
from mlrf.core.bundle import (
    FOREST,
    FORMAT,
    GOLDEN,
    GOLDEN_ROWS,
    NAME_PATTERN,
    NAME_RULE,
    ONNX_MODEL,
    SCHEMA,
    CoverageEntry,
    LinkEntry,
    Manifest,
    ModelFacts,
)
from mlrf.core.errors import ConfigError, ModelUnreadableError, SampleError
from mlrf.core.forest import F64, LEAF, Forest
from mlrf.core.golden import encode_golden_rows, n_kept
from mlrf.core.json_schema import to_json_schema
from mlrf.core.schema import Category, Kind, Schema

Progress = Callable[[str, float], None]
"""Told the name of a step and the share of it that is done, 0 to 1."""
_LIBRARIES = ("onnx", "onnxruntime", "numpy", "pyarrow")


def build(
    model: Any,
    out: str | os.PathLike[str],
    *,
    name: str,
    sample: Any = None,
    categories: str | os.PathLike[str] | Mapping[str, Sequence[Category]] | None = None,
    classes: Sequence[ClassLabel] | None = None,
    force: bool = False,
    allow_pickle: bool = False,
    features: str | os.PathLike[str] | None = None,
    key: Sequence[str] | None = None,
    as_of_column: str | None = None,
    partial: bool = False,
    explain: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Build a bundle at `out` from a trained model, prove it against the training library, and return its path.

    `model`: the path of a model file or of an MLflow directory, or a fitted model (docs/models.md lists the libraries).
    `sample`: rows of the kind the model will see (the path of a Parquet file, or a table): they tell integers and booleans
    from numbers, give the example, and are proven too. `categories`: {feature: [category, …]} in the order of their codes
    (or a JSON file of that), where the model does not know them. `classes`: a classifier's labels in the order of its
    outputs. `force` replaces a bundle that stands at `out`, atomically. `allow_pickle` reads a pickle or joblib file, which
    runs whatever code it holds.

    `features`: a Parquet file of rows that the model will be asked for by `key`, the names of its fields (or `name:type`, of
    string, integer, date and boolean); without a file the rows are loaded later. `as_of_column` says when a row was true: of
    rows with one key the latest counts, and without it such rows are refused. `partial` lets the file lack features, which
    requests then bring. `explain` computes the contributions of every row, on all processors.

    Raises the BuildError that says what is wrong; ParityError when the exported model does not answer as the library does.
    Nothing is left behind then. The same inputs and library versions give the same bundle, to the byte.
    """
    told = progress if progress is not None else _untold
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise ConfigError(f"the model's name {name!r} is not {NAME_RULE}")
    for what, path in (("model", model), ("out", out)):
        if isinstance(path, str | bytes) and not path:
            raise ConfigError(f"{what} is an empty path")
    wanted = rows_wanted(features, key, as_of_column, partial=partial, explain=explain)
    place = Path(out)
    check_output(place, force=force)
    told("reading the model", 0.0)
    wishes = Wishes(read_category_lists(categories), read_class_labels(classes))
    imported = import_model(model, wishes, allow_pickle=allow_pickle)
    told("reading the model", 1.0)
    schema, sampled = _schema(imported, sample)
    imported = with_covers(imported, sampled)
    if explain and imported.covers == "none":
        raise SampleError(f"reasons are asked for, but {NO_COVERS}")
    told("exporting", 0.0)
    exports = Exports(export_onnx(imported.forest, imported.link), encode_forest(imported.forest))
    told("exporting", 1.0)
    with side_folder(place) as folder, keyed_rows(wanted, schema, folder, told) as rows:
        proof = prove(imported, exports, schema, sampled=sampled, progress=told)
        golden = Golden(proof.kinds, proof.rows, proof.margins, proof.predictions)
        files: dict[str, bytes | Path] = {
            ONNX_MODEL: exports.onnx,
            FOREST: exports.forest,
            SCHEMA: msgspec.json.format(msgspec.json.encode(to_json_schema(schema)), indent=2) + b"\n",
            GOLDEN: encode_golden(golden),
            GOLDEN_ROWS: _golden_rows(proof),
        }
        manifest = _manifest(name, imported, schema, proof)
        if rows is not None:
            files |= rows.write(folder, told)
            if explain:
                files |= write_explanations(rows, exports.forest, folder, told)
            manifest = msgspec.structs.replace(manifest, rows=rows.entry(explained=explain))
        told("writing", 0.0)
        path = write_bundle(place, manifest, files, force=force)
        told("writing", 1.0)
    return path


def _untold(_step: str, _done: float) -> None:
    """Progress that nobody asked for."""


def _schema(imported: ImportedModel, sample: Any) -> tuple[Schema, F64 | None]:
    try:
        schema = Schema(imported.features)
    except ValueError as error:
        raise ModelUnreadableError(f"the model's features make no schema: {error}") from error
    if sample is None:
        return schema, None
    given = read_sample(sample, schema.names)
    schema = Schema(given.features(imported.features))
    rows = given.rows(schema)
    return with_examples(schema, rows), rows


def _manifest(name: str, imported: ImportedModel, schema: Schema, proof: Proof) -> Manifest:
    forest = imported.forest
    libraries = {library: metadata.version(library) for library in _LIBRARIES}
    return Manifest(
        format=FORMAT,
        name=name,
        task=imported.task,
        objective=imported.objective,
        link=LinkEntry(imported.link.kind, imported.link.scale),
        classes=None if imported.classes is None else list(imported.classes),
        class_at_half=imported.class_at_half,
        n_features=forest.n_features,
        n_outputs=forest.n_outputs,
        base=forest.expected_margin(),
        facts=ModelFacts(
            trees=forest.n_trees,
            leaves=forest.n_leaves,
            max_depth=_depth(forest),
            categorical_features=sum(f.kind is Kind.CATEGORICAL for f in schema.features),
        ),
        libraries={"mlrf": mlrf.__version__, imported.library: proof.library_version, **libraries},
        parity=proof.parity,
        precision=forest.rounding,
        covers=imported.covers,
        library=imported.library,
        notes=list(imported.notes),
        coverage=CoverageEntry(**asdict(proof.coverage)),
        files={},
    )


def _golden_rows(proof: Proof) -> bytes:
    n = n_kept(*proof.rows.shape)
    # Evenly over all kinds of rows.
    kept = np.linspace(0, len(proof.rows) - 1, n).astype(np.int64)
    return encode_golden_rows(proof.rows[kept].tobytes(), proof.margins[kept].tobytes(), n)


def _depth(forest: Forest) -> int:
    """Return the largest number of splits on a path."""
    depth = [0] * forest.n_nodes
    left, right = forest.left.tolist(), forest.right.tolist()
    for node, feature in enumerate(forest.feature.tolist()):  # parents come before their children
        if feature != LEAF:
            depth[left[node]] = depth[right[node]] = depth[node] + 1
    return max(depth)
