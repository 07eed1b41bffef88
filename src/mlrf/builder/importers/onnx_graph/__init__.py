"""The importer of ONNX graphs that are not just a tree ensemble: ONNX Runtime serves them unaltered.

operators and tree_operators (checks of operators), known_columns (column facts from the operators), inputs (features from the
inputs), outputs (the output that is served), reader (combines them), row_inputs (rows as inputs of the graph), runtime_answers
and reference_answers (ONNX Runtime and ONNX's own evaluator, in child processes: graph_runner), rows (the rows to run),
semantics (task and classes, inferred from the outputs), proof (the gate).
"""
