"""ONNX files that are more than trees, or hold none: they run on ONNX Runtime, unaltered.

operators and trees (what no server should run), columns (what the operators know of the columns), inputs (columns by name and
type as features), outputs (which output is the answer), reader (the whole), question (rows as the graph takes them),
runtime_answers and reference_answers (ONNX Runtime and ONNX's own evaluator, asked in processes of their own), asking, rows
(which rows are asked), meaning (task and classes, by what the graph answers), proof (the gate).
"""
