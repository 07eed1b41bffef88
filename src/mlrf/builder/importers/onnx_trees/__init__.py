"""The importer of ONNX tree ensembles: files of any converter, read to an `ImportedModel`.

onnx_file (bytes to a checked protobuf, without external files), graph (the operators before and after the trees), tree_nodes
(the operators' attributes as plain nodes), trees (nodes as trees of the IR), objective (task, link and classes), reader
(combines them), reference (ONNX Runtime itself, in a child process). `onnx_graph` imports files with other operators.
"""

from mlrf.builder.importers.imported_model import Library
from mlrf.builder.importers.onnx_trees.onnx_file import is_model
from mlrf.builder.importers.onnx_trees.reader import read_onnx

LIBRARY = Library(
    name="ONNX",
    reads="ONNX (.onnx files, ModelProto objects)",
    packages=("onnx",),
    recognises=is_model,
    read=read_onnx,
    takes_names=True,
)
