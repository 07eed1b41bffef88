"""The importer of scikit-learn pipelines: preprocessing and a tree model become a forest over the raw columns.

A column of the matrix that the model sees is a function of one raw column, so every split of the model is a split of one
raw column: the branch of each category, of a missing value, and of each interval of numbers is found by applying the pipeline's
own steps. Contract:

1. Every raw value takes the branch that the pipeline sends it to, to the bit (docs/explanation/pipelines.md states the limits).
2. A step that mixes columns, or whose arithmetic is not monotone, is refused with an error that names it. Of functions such as
   log, whose last bits depend on the processor, 1 holds outside a band around each threshold.
3. Covers stay with their branches, so that contributions are Shapley values of the raw columns.

source (the pipeline of the given object), older_steps (steps of an older scikit-learn), encoder_package and stored_encoders
(encoders of category_encoders), lineage (the raw column behind each column of the matrix), raw_table (raw columns, and rows of
them as input of the pipeline), matrix (the input of the model), cut_points (where a number changes branches), splits (the
branch of every raw value), raw_splits (all splits), edge_values (values for the golden rows), function_steps (log, powers),
raw_tables (CatBoost's CTR tables),
number_ranges (numbers that the pipeline answers), float_order (float64 numbers as integers), fold (the forest over the raw
columns), reader (combines them), reference (the pipeline itself, in a child process).
"""

from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.interface import Library
from mlrf.builder.importers.pipeline.reader import read_pipeline
from mlrf.builder.importers.pipeline.source import is_pipeline, is_pipeline_file
from mlrf.builder.model_source import Source


def _read(source: Source, options: ImportOptions) -> ImportedModel:
    # Imported here, because combinations import modules of this package.
    from mlrf.builder.importers.combination.reader import read_combination  # noqa: PLC0415

    return read_pipeline(source, options, read_combination)


LIBRARY = Library(
    name="scikit-learn",
    reads="scikit-learn pipelines that end in a tree model",
    numbered="x{}",
    packages=(),
    recognises=is_pipeline_file,
    recognises_object=is_pipeline,
    read=_read,
)
