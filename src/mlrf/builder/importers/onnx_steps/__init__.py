"""The importer of ONNX pipelines: the operators before a tree ensemble are folded into its trees, over the raw columns.

It finds what `pipeline` finds for scikit-learn's own objects, with the same code: the raw column behind each column of the
trees, the cut points of numbers, the branch of each category and of a missing value. Contract:

1. The steps are computed here with the operators' own arithmetic (float32 where ONNX says so); ONNX Runtime, running the whole
   file in a child process, is the reference of the golden rows.
2. An operator that is not listed here, or that mixes columns, is refused by name; ONNX Runtime then serves the file.

graph_cut (the steps, and a file of the rest), graph_step (an operator, and what is traced of its tensors), moving_steps,
number_steps and category_steps (the operators), traced_graph (the raw column behind each column), graph_steps (the steps as a
transformation of rows), input_table (rows as inputs of the graph), reader (combines them), reference (ONNX Runtime itself).
"""
