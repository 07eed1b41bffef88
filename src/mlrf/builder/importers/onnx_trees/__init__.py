"""The reader of ONNX files from elsewhere: tree ensembles of any converter in, `ImportedModel` out.

document (bytes to a checked protobuf, nothing read outside them), graph (what stands before and behind the trees), ensemble
(the operators' attributes as plain nodes), trees (nodes as trees of the IR), kind (task, link and classes), reader (the
whole), answers (ONNX Runtime itself, asked in a process of its own). What is not trees alone goes to `onnx_graph`.
"""

from mlrf.builder.importers.imported_model import Library
from mlrf.builder.importers.onnx_trees.document import is_model
from mlrf.builder.importers.onnx_trees.reader import read_onnx

LIBRARY = Library(
    name="ONNX",
    reads="ONNX (.onnx files, ModelProto objects)",
    packages=("onnx",),
    recognises=is_model,
    read=read_onnx,
    takes_names=True,
)
