"""The IR as ONNX: one `TreeEnsemble` (ai.onnx.ml 5) in double, exact for every rule of the IR, and the link after it.

categories (category sets as thresholds on ranks), columns (what the trees see of a row), ensemble (trees as the operator's
attributes), link_operators (margin to prediction), export (the whole model, as bytes).
"""
