"""Reader of ONNX files and ModelProtos: trees, pipelines that are folded into trees, and graphs that ONNX Runtime serves."""

from __future__ import annotations

from onnx import ModelProto

from mlrf.builder.importers.imported_model import ImportedGraph, ImportedModel, ImportOptions
from mlrf.builder.importers.onnx_graph.reader import read_graph_model
from mlrf.builder.importers.onnx_steps.graph_cut import has_steps
from mlrf.builder.importers.onnx_steps.reader import read_onnx_pipeline
from mlrf.builder.importers.onnx_trees.onnx_file import read_document
from mlrf.builder.importers.onnx_trees.reader import read_trees
from mlrf.builder.model_source import Source
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError


def read_onnx(source: Source, import_options: ImportOptions) -> ImportedModel | ImportedGraph:
    """Read an ONNX file: a tree ensemble, with or without steps before it, as trees, anything else as a graph.

    The requested category lists name the codes of columns that trees test for equality, and the strings that a graph accepts.
    Raises a BuildError that says what is wrong.
    """
    try:
        document, raw = read_document(source)
        try:
            return _read_forest(document, raw, import_options)
        except UnsupportedModelError as reason:
            return read_graph_model(document, raw, import_options, str(reason))
    except (ModelUnreadableError, UnsupportedModelError) as error:
        # Names in a file may contain line ends.
        raise type(error)(" ".join(str(error).split()), **error.details) from error
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        # A name that is not UTF-8 is bytes, a number may have any size: damage that no check anticipates.
        raise ModelUnreadableError(f"the ONNX file is damaged: {' '.join(str(error).split())}") from error


def _read_forest(document: ModelProto, raw: bytes, import_options: ImportOptions) -> ImportedModel:
    if has_steps(document):
        return read_onnx_pipeline(document, raw, import_options)
    return read_trees(document, raw, import_options)
