"""Writes answers as Arrow IPC streams: one record batch with `prediction`, and for classifiers `label` and `probabilities`.

The schema's metadata names the model and its version, and, as JSON, the defaults that were used for absent features.
Probabilities, and predictions of several numbers, are fixed-size lists.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from mlrf.core.feature import Category, Value
from mlrf.core.flatbuffers_writer import Child, Field, FlatBufferWriter
from mlrf.model.row_predictor import Prediction, RowPredictor
from mlrf.serving.arrow.columns import TypeId
from mlrf.serving.arrow.stream import Header

_FIXED_SIZE_LIST = 16
_KNOWN_HEADERS = 64
_VERSION_5 = ("h", 4)
_END = b"\xff\xff\xff\xff\0\0\0\0"
_LITTLE_ENDIAN = ("h", 0)


class AnswerWriter:
    """Writes the answers of one model."""

    def __init__(self, model: RowPredictor) -> None:
        self._model = model
        width = (
            model.bundle.manifest.n_outputs if model.bundle.link.is_vector or model.bundle.manifest.n_outputs > 1 else 0
        )
        self._columns: list[_Column] = [_Numbers("prediction", width)]
        if model.classes is not None:
            self._columns += [_Labels(model.classes), _Numbers("probabilities", len(model.classes))]
        self._origin = {"model": model.name, "version": model.bundle.short_version}
        self._schema = self._schema_message(self._origin)
        self._headers: dict[Any, bytes] = {}

    def stream(self, predictions: Sequence[Prediction], defaults: Mapping[str, Value]) -> bytes:
        """Return the stream of the predictions of n rows, for which these defaults were used."""
        model = self._model
        given: list[Sequence[Any]] = [predictions]
        if model.classes is not None:
            given += [[model.label_of(p) for p in predictions], [model.probabilities_of(p) for p in predictions]]
        n = len(predictions)
        nodes: list[tuple[int, int]] = []
        buffer_ranges: list[tuple[int, int]] = []
        body = bytearray()
        for column, values in zip(self._columns, given, strict=True):
            nodes += [(n * width, 0) for width in column.node_widths]
            for buffer in column.buffers(values):
                buffer_ranges.append((len(body), len(buffer)))
                body += buffer + bytes(-len(buffer) % 8)
        schema = self._schema
        if defaults:
            schema = self._schema_message({**self._origin, "defaults": msgspec.json.encode(defaults).decode()})
        return b"".join((schema, self._header(n, nodes, buffer_ranges, len(body)), body, _END))

    def _schema_message(self, metadata: Mapping[str, str]) -> bytes:
        fields = [column.field for column in self._columns]
        pairs = [_table([_text(name), _text(value)]) for name, value in metadata.items()]
        schema: list[Field] = [_LITTLE_ENDIAN, _tables(fields), _tables(pairs)]
        return _message(Header.SCHEMA, schema, 0)

    def _header(
        self, n: int, nodes: list[tuple[int, int]], buffer_ranges: list[tuple[int, int]], body_bytes: int
    ) -> bytes:
        """Return the message before a body, made once for a shape: labels of differing lengths seldom have the same."""
        key = (n, *buffer_ranges)
        header = self._headers.get(key)
        if header is None:
            batch: list[Field] = [("q", n), lambda w: w.structs("qq", nodes), lambda w: w.structs("qq", buffer_ranges)]
            header = _message(Header.RECORDS, batch, body_bytes)
            if len(self._headers) >= _KNOWN_HEADERS:
                self._headers.clear()
            self._headers[key] = header
        return header


class _Column:
    """A column of answers."""

    field: Child
    node_widths: tuple[int, ...] = (1,)

    def buffers(self, values: Sequence[Any]) -> list[bytes]:
        """Return the buffers of the column's values."""
        raise NotImplementedError


class _Numbers(_Column):
    """A column of float64 numbers, or, with a width, of lists of that many."""

    def __init__(self, name: str, width: int) -> None:
        self._width = width
        if width:
            item = _field("item", TypeId.FLOAT, [("h", 2)])
            self.field = _field(name, _FIXED_SIZE_LIST, [("i", width)], [item])
            self.node_widths = (1, width)
        else:
            self.field = _field(name, TypeId.FLOAT, [("h", 2)])

    def buffers(self, values: Sequence[Any]) -> list[bytes]:
        """Return the validity buffers (empty, as nothing is missing; lists have one more) and the numbers."""
        if self._width:
            return [b"", b"", array("d", chain.from_iterable(values)).tobytes()]
        return [b"", array("d", values).tobytes()]


class _Labels(_Column):
    """A column of class labels: integers, numbers or booleans if all labels are, otherwise strings."""

    def __init__(self, classes: Sequence[Category]) -> None:
        kinds = {type(label) for label in classes}
        self._kind = next(iter(kinds)) if len(kinds) == 1 else str
        types: dict[type, tuple[TypeId, list[Field]]] = {
            int: (TypeId.INT, [("i", 64), ("B", 1)]),
            float: (TypeId.FLOAT, [("h", 2)]),
            bool: (TypeId.BOOL, []),
        }
        self.field = _field("label", *types.get(self._kind, (TypeId.STRING, [])))

    def buffers(self, values: Sequence[Any]) -> list[bytes]:
        """Return the validity buffer (empty, as nothing is missing) and the labels."""
        if self._kind is int:
            return [b"", struct.pack(f"<{len(values)}q", *values)]
        if self._kind is float:
            return [b"", struct.pack(f"<{len(values)}d", *values)]
        if self._kind is bool:
            bits = sum(1 << row for row, value in enumerate(values) if value)
            return [b"", bits.to_bytes((len(values) + 7) // 8, "little")]
        texts = [str(value).encode() for value in values]
        offsets = [0]
        for text in texts:
            offsets.append(offsets[-1] + len(text))
        return [b"", struct.pack(f"<{len(offsets)}i", *offsets), b"".join(texts)]


def _field(name: str, type_id: int, kind: Sequence[Field], children: Sequence[Child] = ()) -> Child:
    return _table([_text(name), ("B", 0), ("B", type_id), _table(kind), None, _tables(children)])


def _table(fields: Sequence[Field]) -> Child:
    return lambda writer: writer.table(fields)


def _tables(children: Sequence[Child]) -> Child:
    return lambda writer: writer.tables(children)


def _text(text: str) -> Child:
    return lambda writer: writer.text(text)


def _message(kind: Header, header: Sequence[Field], body_bytes: int) -> bytes:
    metadata = FlatBufferWriter.message([_VERSION_5, ("B", kind), _table(header), ("q", body_bytes)])
    return struct.pack("<Ii", 0xFFFFFFFF, len(metadata)) + metadata
