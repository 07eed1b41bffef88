"""Checks of the outer format of a bundle's files, by file name.

A digest shows that a file is the one in the manifest, not that it is valid. These checks read a few bytes of each file; the
engine and the replay of golden rows check the content.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 8
_PARQUET = b"PAR1"
_VARINT_BYTES = 10
_GRAPH = 7
"""The field of an ONNX ModelProto that holds the graph."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def wrong_content(path: Path) -> str | None:
    """Return why a file is not of the kind that its name says; None if it is, or if the name says nothing."""
    check = _CHECKS.get(path.name)
    if check is None:
        return None
    with path.open("rb") as file:
        return check(file, path.stat().st_size)


def _starts_with(magic: bytes, what: str) -> Callable[[BinaryIO, int], str | None]:
    def check(file: BinaryIO, _size: int) -> str | None:
        return None if file.read(_HEAD_BYTES) == magic else f"is not a {what} that mlrf wrote"

    return check


def _parquet(file: BinaryIO, size: int) -> str | None:
    head = file.read(len(_PARQUET))
    file.seek(max(0, size - len(_PARQUET)))
    is_parquet = size > 2 * len(_PARQUET) and head == _PARQUET == file.read()
    return None if is_parquet else "is not a Parquet file"


def _onnx(file: BinaryIO, size: int) -> str | None:
    """Check that the outermost fields of the protobuf message fill the file and that one of them is the graph."""
    has_graph = False
    while file.tell() < size:
        tag = _varint(file)
        kind = None if tag is None else tag & 7
        if kind == _VARINT:
            length = 0 if _varint(file) is not None else None
        elif kind == _BYTES:
            length = _varint(file)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(-1 if kind is None else kind)
        if tag is None or length is None or file.tell() + length > size:
            return "is not an ONNX model"
        has_graph = has_graph or tag >> 3 == _GRAPH
        file.seek(length, 1)
    return None if has_graph else "is not an ONNX model"


def _varint(file: BinaryIO) -> int | None:
    number = 0
    for index in range(_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            return None
        number |= (byte[0] & 0x7F) << (7 * index)
        if byte[0] < 0x80:  # noqa: PLR2004  the last byte of a varint
            return number
    return None


_CHECKS: dict[str, Callable[[BinaryIO, int], str | None]] = {
    "forest.bin": _starts_with(b"MLRFTREE", "forest file"),
    "golden.bin": _starts_with(b"MLRFGOLD", "file of golden rows"),
    "leaves.bin": _starts_with(b"MLRFLEAF", "file of leaf numbers"),
    "model.onnx": _onnx,
    "golden.parquet": _parquet,
    "features.parquet": _parquet,
    "explanations.parquet": _parquet,
}
