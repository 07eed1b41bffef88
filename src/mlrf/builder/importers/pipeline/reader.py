"""Reader of pipelines: from an object or a skops file to an `ImportedModel` over its raw columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.fitted_model import read_fitted_model
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.pipeline.fold import fold_forest
from mlrf.builder.importers.pipeline.lineage import Lineage, trace_columns
from mlrf.builder.importers.pipeline.matrix import Preprocessing
from mlrf.builder.importers.pipeline.raw_splits import RawSplits
from mlrf.builder.importers.pipeline.raw_table import RawTable, raw_table
from mlrf.builder.importers.pipeline.raw_tables import over_raw_columns
from mlrf.builder.importers.pipeline.source import FittedPipeline, open_pipeline, pack_source
from mlrf.builder.model_source import ModelObject, Source
from mlrf.core.errors import BuildError, ModelUnreadableError, SampleError, UnsupportedModelError
from mlrf.core.feature import Category
from mlrf.core.forest import NUMERIC, TRUNCATED, ZERO_BAND

Reader = Callable[[Source, ImportOptions], ImportedModel]


def read_pipeline(source: Source, options: ImportOptions, read_combination: Reader) -> ImportedModel:
    """Read a fitted pipeline or a skops file of one; raises a BuildError that says what is wrong.

    `read_combination` reads its last step if that is a combination, whose members may be pipelines.
    """
    pipeline = open_pipeline(source)
    model = _read_model(pipeline, options, read_combination)
    try:
        return _fold(pipeline, model, options)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        # A step of another version, or a damaged one, may lack anything or fail in any way.
        reason = " ".join(str(error).split())[:200]
        raise ModelUnreadableError(
            f"the pipeline's steps cannot transform rows: {type(error).__name__}: {reason}"
        ) from error


def _fold(pipeline: FittedPipeline, model: ImportedModel, options: ImportOptions) -> ImportedModel:
    if model.combination is not None and model.combination.reads_rows:
        raise UnsupportedModelError(
            f"the pipeline's model {pipeline.model_name!r} gives its final estimator the transformed rows too "
            "(passthrough=True), which mlrf does not serve after other steps; put the steps into its members "
            "(make_pipeline(step, member)), or train it with passthrough=False"
        )
    lineage = trace_columns(pipeline.steps, pipeline.n_columns)
    if len(lineage.columns) != model.forest.n_features:
        raise ModelUnreadableError(
            f"the pipeline's steps produce {len(lineage.columns)} columns, but its model takes {model.forest.n_features}"
        )
    if not len(model.forest.set_codes) and model.forest.tables is None:
        # Without splits by sets the model has no rule of its own for codes: all members of a combination can share this one.
        model = replace(model, forest=replace(model.forest, no_code_up_to=TRUNCATED))
    table = raw_table(lineage, pipeline.names, model.forest.no_code_up_to, options.shared_categories)
    if not table.used:
        raise UnsupportedModelError(
            "no step of the pipeline reads a raw column, so its answer is the same for every row"
        )
    check_category_names(options.categories, [table.columns[raw].name for raw in table.used])
    preprocessing = Preprocessing(pipeline.preprocessing, table, len(lineage.columns), library=model.library)
    if preprocessing.is_sparse:
        model = _for_sparse_matrices(model)
    found = RawSplits(model, lineage, table, preprocessing).find()
    by_hash = {feature.name for feature in found.raw_features if feature.hashing is not None}
    if known := [name for name in options.categories if name not in by_hash]:
        raise SampleError(
            f"feature {known[0]!r}: the pipeline defines its categories; leave the list out", feature=known[0]
        )
    feature_of = {raw: feature for feature, raw in enumerate(table.used)}
    tables = over_raw_columns(model, lineage, [feature_of[column.raw] for column in lineage.columns])
    forest = fold_forest(model.forest, found.splits, found.split_of, found.features, len(table.used), tables)
    return replace(
        model,
        forest=forest,
        features=found.raw_features,
        source=pack_source(pipeline.preprocessing, model.source),
        answers="mlrf.builder.importers.pipeline.reference",
        settings={
            "answers": model.answers,
            "model": dict(model.settings),
            "table": table.settings(),
            "width": len(lineage.columns),
        },
        known_codes_only=tuple(sorted({*found.known_codes_only, *_inner_known_codes(model, lineage, table)})),
        edge_values=found.edge_values,
        largest_number=found.largest_number,
        refuses_beyond_float32=found.refuses_beyond_float32,
        bands=found.bands,
        functions=tuple(dict.fromkeys([*lineage.functions, *model.functions])),
    )


def _inner_known_codes(model: ImportedModel, lineage: Lineage, table: RawTable) -> list[int]:
    """Return the features whose categories reach the model unchanged, and must be among those that it knows."""
    return [table.used.index(lineage.columns[column].raw) for column in model.known_codes_only]


def _for_sparse_matrices(model: ImportedModel) -> ImportedModel:
    """Return a model as its library reads a sparse matrix, which differs in parts from how it reads an array."""
    if model.library == "scikit-learn":  # its trees accept missing values in arrays only
        return replace(
            model, features=tuple(msgspec.structs.replace(feature, nullable=False) for feature in model.features)
        )
    if model.library == "lightgbm":
        # In an array it reads values near zero as zero, which has moved such thresholds out of the band.
        forest = model.forest
        moved = (forest.category_set == NUMERIC) & (forest.threshold == math.nextafter(-ZERO_BAND, -math.inf))
        return replace(model, forest=replace(forest, threshold=np.where(moved, -ZERO_BAND, forest.threshold)))
    return model


def _sampled_by_column(pipeline: FittedPipeline, options: ImportOptions) -> Callable[[str], list[Category] | None]:
    """Return a function that gives the names of categories by the model's own name of a column, or by the raw column's."""
    by_name = options.category_names.of
    own_names = getattr(pipeline.model, "feature_names_", None)
    if own_names is None or pipeline.names is None:
        return by_name
    try:
        behind = trace_columns(pipeline.steps, pipeline.n_columns).columns
    except BuildError:  # it is raised again where the steps are folded
        return by_name
    raw_names = {str(own): pipeline.names[column.raw] for own, column in zip(own_names, behind, strict=False)}
    return lambda name: by_name(raw_names.get(name, name))


def _read_model(pipeline: FittedPipeline, options: ImportOptions, read_combination: Reader) -> ImportedModel:
    # Here, because combinations import modules of this package.
    from mlrf.builder.importers.combination.source import is_combination  # noqa: PLC0415

    if is_combination(pipeline.model):
        return read_combination(ModelObject(pipeline.model), replace(options, categories={}))
    # A model after other steps may keep hashes of raw categories, which have their names from lists or from a sample.
    named = replace(options, sampled=_sampled_by_column(pipeline, options))
    if (found := read_fitted_model(pipeline.model, named)) is not None:
        return found
    kind = type(pipeline.model)
    raise UnsupportedModelError(
        f"the pipeline's last step {pipeline.model_name!r} is not a tree model that mlrf supports: "
        f"{kind.__module__}.{kind.__name__}"
    )
