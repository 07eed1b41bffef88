"""The importer of ONNX tree ensembles: files of any converter, read to an `ImportedModel`.

recognition (of a file, by its first bytes), onnx_file (bytes to a checked protobuf, without external files), graph (the
operators before and after the trees), tree_nodes (the operators' attributes as plain nodes), trees (nodes as trees of the
IR), objective (task, link and classes), reader (combines them), reference (ONNX Runtime itself, in a child process),
file_reader (chooses the importer of a file). `onnx_steps` folds the operators before the trees into them, `onnx_graph` imports
files with other operators.
"""

from mlrf.builder.build_extra import require_onnx
from mlrf.builder.importers.imported_model import ImportedGraph, ImportedModel, ImportOptions
from mlrf.builder.importers.interface import Library, Turn
from mlrf.builder.importers.onnx_trees.recognition import is_model
from mlrf.builder.model_source import Source


def _read(source: Source, import_options: ImportOptions) -> ImportedModel | ImportedGraph:
    """Read an ONNX model; ConfigError when a package for it is not installed."""
    require_onnx()
    from mlrf.builder.importers.onnx_trees.file_reader import read_onnx  # noqa: PLC0415  it imports them

    return read_onnx(source, import_options)


LIBRARY = Library(
    name="ONNX",
    reads="ONNX (.onnx files, ModelProto objects)",
    packages=("onnx",),
    recognises=is_model,
    read=_read,
    takes_names=True,
    turn=Turn.LAST,
)
