"""The reader of scikit-learn pipelines: preprocessing and a tree model in, a forest over the raw columns out.

A column of the matrix that the model sees is a function of one raw column, so every split of the model is a question about one
raw column: its answer for each category, for a missing value, and between any two numbers is found by asking the pipeline's
own steps. Contract:

1. Every raw value takes the branch that the pipeline sends it to, to the bit (docs/explanation/pipelines.md states the limits).
2. A step that mixes columns, or whose arithmetic is not monotone, is refused by its name.
3. Covers stay with their branches, so that contributions are Shapley values of the raw columns.

source (the pipeline in whatever a caller holds), lineage (the raw column behind each column of the matrix), raw_table (raw
columns, and rows of them as the pipeline takes them), matrix (what the model sees), cut_points (where a number changes sides),
splits (the answer of a split for every raw value), raw_splits (all of them), fold (the forest over the raw columns), reader
(the whole), reference (the pipeline itself, asked in a process of its own).
"""

from mlrf.builder.importers.imported_model import Library
from mlrf.builder.importers.pipeline.reader import read_pipeline
from mlrf.builder.importers.pipeline.source import is_pipeline, is_pipeline_file

LIBRARY = Library(
    name="scikit-learn",
    reads="scikit-learn pipelines that end in a tree model",
    packages=(),
    recognises=is_pipeline_file,
    recognises_object=is_pipeline,
    read=read_pipeline,
)
