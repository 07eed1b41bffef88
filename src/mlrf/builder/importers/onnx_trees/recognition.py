"""Recognition of ONNX files by their first bytes, without the package onnx."""

from __future__ import annotations

_IR_VERSION = 0x08
"""The tag of the first field of an ONNX model, which few other files start with; the other fields follow in any order."""
_NEXT_TAGS = frozenset((0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72))
_MAX_IR_VERSION = 0x40
_LEAST_BYTES = 8


def is_model(content: bytes) -> bool:
    """Whether bytes start like an ONNX model, valid or damaged."""
    return (
        len(content) >= _LEAST_BYTES
        and content[0] == _IR_VERSION
        and 1 <= content[1] < _MAX_IR_VERSION
        and content[2] in _NEXT_TAGS
    )
