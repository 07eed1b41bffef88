"""The gate between the training library's answers and the exported model's.

domain (which values a feature may take on its way down a tree), reach (rows that stand on a given node's edge), golden
(rows of every kind), library (the training library, asked in a process of its own), runtime (the exported model under
plain ONNX Runtime), judge (the comparison), gate (the whole, for `build`).
"""
