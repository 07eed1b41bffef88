"""Exporters: the tree IR as a forest file for the kernel, and as an ONNX model."""
