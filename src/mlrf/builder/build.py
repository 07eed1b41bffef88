"""`mlrf.build`: the steps from a trained model to a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from mlrf.builder.bundle.explained_rows import write_explanations
from mlrf.builder.bundle.forest_bundle import ForestBundle
from mlrf.builder.bundle.game_files import game_files, read_games
from mlrf.builder.bundle.keyed_rows import check_rows_file, keyed_rows
from mlrf.builder.bundle.keyed_rows_options import keyed_rows_options
from mlrf.builder.bundle.rows_file import write_rows
from mlrf.builder.bundle.writer import check_output, side_folder, write_bundle
from mlrf.builder.category_lists import read_category_lists
from mlrf.builder.class_labels import read_class_labels
from mlrf.builder.defaults import read_defaults, with_defaults
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.import_options import read_names, read_task
from mlrf.builder.importers.imported_model import ClassLabel, ImportedGraph, ImportedModel, ImportOptions
from mlrf.builder.memory import is_out_of_memory
from mlrf.builder.sample import sampled_categories
from mlrf.core.errors import BuildError, ConfigError, SampleError
from mlrf.core.feature import Category, Value
from mlrf.core.json_schema import to_json_schema
from mlrf.core.manifest import FOREST, NAME_PATTERN, NAME_RULE, SCHEMA
from mlrf.core.schema import Schema
from mlrf.model.explanation_kinds import BuildGames

if TYPE_CHECKING:
    from mlrf.builder.bundle.graph_bundle import GraphBundle

_INDENTED_FEATURES = 1_000
Progress = Callable[[str, float], None]
"""Callback that receives the name of a step and its progress, 0 to 1."""


def build(
    model: Any,
    out: str | os.PathLike[str],
    *,
    name: str,
    sample: Any = None,
    categories: str | os.PathLike[str] | Mapping[str, Sequence[Category]] | None = None,
    classes: Sequence[ClassLabel] | None = None,
    defaults: str | os.PathLike[str] | Mapping[str, Value] | None = None,
    task: str | None = None,
    feature_names: Sequence[str] | None = None,
    force: bool = False,
    allow_pickle: bool = False,
    features: str | os.PathLike[str] | None = None,
    key: Sequence[str] | None = None,
    as_of_column: str | None = None,
    partial: bool = False,
    explain: bool = False,
    progress: Progress | None = None,
    **games: Unpack[BuildGames],
) -> Path:
    """Build a bundle at `out` from a trained model, verify it against the training library, and return its path.

    `model`: the path of a model file or of an MLflow directory, or a fitted model (docs/reference/models.md).
    `sample`: typical input rows (the path of a Parquet file, or a table): they distinguish integers and booleans
    from numbers, give the example, and are verified too. `categories`: {feature: [category, …]} in the order of their codes
    (or a JSON file of that), if the model does not contain them. `classes`: a classifier's labels in the order of its
    outputs. `defaults`: {feature: value} (or a JSON file of that) of features that requests by name may leave out.
    `feature_names` are for models that have none: ONNX files, checkpoints of treelite, and what was trained on arrays. `task`
    (regression, binary, multiclass, raw) is for the first two, which may not say it.
    `force` replaces an existing bundle at `out`, atomically. `allow_pickle` reads a pickle or joblib file, which
    runs any code in it.

    `features`: a Parquet file of rows to serve by `key`, the names of its fields (or `name:type`, with type
    string, integer, date or boolean); without a file the rows are loaded later. `as_of_column` is the time of a row: of
    rows with the same key the latest is kept, and without it such rows are refused. `partial` allows rows without some
    features, which requests then send. `explain` computes the contributions of every row, on all processors.

    `background`: rows (the path of a Parquet, CSV or JSON file, or rows as `Model.predict` takes them) against which
    servers explain on request, stored in the bundle; SampleError if their table takes more than 256 MB.
    `groups`: {name: [feature, …]} (or a JSON file of that), features that servers explain as one player on request.

    Raises a BuildError that says what is wrong; ParityError if the exported model does not predict as the library does.
    Nothing is left behind in that case. The same inputs and library versions give the same bundle, byte for byte.
    """
    report = progress if progress is not None else _ignore_progress
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise ConfigError(f"the model's name {name!r} is not {NAME_RULE}")
    for what, path in (("model", model), ("out", out)):
        if isinstance(path, str | bytes) and not path:
            raise ConfigError(f"{what} is an empty path")
    rows_options = keyed_rows_options(features, key, as_of_column, partial=partial, explain=explain)
    optional = read_defaults(defaults)
    chosen = read_games(games)
    target = Path(out)
    check_output(target, force=force)
    report("reading the model", 0.0)
    try:
        import_options = ImportOptions(
            read_category_lists(categories),
            read_class_labels(classes),
            read_names(feature_names),
            read_task(task),
            sampled=sampled_categories(sample),
        )
        imported = import_model(model, import_options, allow_pickle=allow_pickle)
        report("reading the model", 1.0)
        part = _part(imported, sample, report)
        with_defaults(part.schema, optional)  # refuses invalid defaults before the long steps
        _check_explained(part, {"explain": explain, **{option.name: True for option, _ in chosen}})
        check_rows_file(rows_options, part.schema)
        with side_folder(target) as folder:
            proven, manifest = part.prove(name, report)
            # The proof completes the schema, against which the rows are checked.
            schema = with_defaults(part.schema, optional)
            files: dict[str, bytes | Path] = {**proven, SCHEMA: _schema_file(schema)}
            with keyed_rows(rows_options, part.schema, folder, report) as rows:
                if rows is not None:
                    files |= write_rows(rows, folder, report)
                    if explain:
                        files |= write_explanations(rows, proven[FOREST], manifest.combination, folder, report)
                    manifest = msgspec.structs.replace(manifest, rows=rows.entry(explained=explain))
            if chosen:
                files |= game_files(chosen, name, schema, proven[FOREST], manifest.combination, folder, report)
            report("writing", 0.0)
            path = write_bundle(target, manifest, files, force=force)
            report("writing", 1.0)
    except (MemoryError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        raise BuildError(
            "the build ran out of memory and left nothing behind; build on a machine, or in a container, with more memory"
        ) from error
    return path


def _ignore_progress(_step: str, _done: float) -> None:
    """Ignore progress; the default callback."""


def _part(imported: ImportedModel | ImportedGraph, sample: Any, report: Progress) -> ForestBundle | GraphBundle:
    if isinstance(imported, ImportedGraph):
        from mlrf.builder.bundle.graph_bundle import GraphBundle  # noqa: PLC0415  with the package onnx, which is an extra

        return GraphBundle(imported, sample, report)
    return ForestBundle(imported, sample, report)


def _check_explained(part: ForestBundle | GraphBundle, given: Mapping[str, bool]) -> None:
    """Refuse options that need explanations of a model without them; SampleError."""
    for option, is_given in given.items():
        if is_given and part.unexplained is not None:
            raise SampleError(f"--{option}: {part.unexplained}")


def _schema_file(schema: Schema) -> bytes:
    # Indented for readers, except for a wide model, where indentation would be half of the file.
    indent = 2 if len(schema.features) <= _INDENTED_FEATURES else -1
    return msgspec.json.format(msgspec.json.encode(to_json_schema(schema)), indent=indent) + b"\n"
