"""JSON lines, also compressed, and JSON arrays: a part is a block of 16 MB of lines, or an array as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from mlrf.core import json_infinities
from mlrf.core.errors import InvalidRequestError
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip
from mlrf.model.json_instances import features_of
from mlrf.scoring.input_files import InputFile
from mlrf.scoring.log_input import LogInput, is_record
from mlrf.scoring.parts import BLOCK_BYTES, Part, block_part
from mlrf.scoring.row_batches import BatchReader
from mlrf.scoring.text_streams import TextStream

_BOM = b"\xef\xbb\xbf"
_CHUNK_BYTES = 1 << 20
_FIRST_BYTES = 1 << 16


class JsonInput:
    """A file of JSON documents; ConfigError if it cannot be read, InvalidRequestError if it is not JSON."""

    digest = ""
    types: Sequence[Any] = ()

    def __init__(self, file: InputFile, schema: Schema) -> None:
        self.file = file
        self._read_rows = self._read_bytes = 0
        with _json_errors(file):
            first = _read(TextStream(file), _FIRST_BYTES)
        self._row_bytes = max(1, first.find(b"\n") + 1 or len(first))
        document = _first_document(first)
        self.is_log = is_record(document)
        self.names = _member_names(document, schema)

    @property
    def n_rows(self) -> int:
        """An estimate from the size of the file and of the rows read so far, until it has been read."""
        if self._read_bytes:
            return self._read_rows * self.file.size_bytes // self._read_bytes
        return self.file.size_bytes // self._row_bytes

    @property
    def open_bytes(self) -> int:
        """A block of text, and the documents that it is decoded to."""
        return 10 * BLOCK_BYTES

    def as_log(self) -> LogInput:
        """Return the file as a prediction log."""
        return LogInput(self.file, self._records(), self.n_rows, self.open_bytes)

    def _records(self) -> Iterator[list[Any]]:
        with _json_errors(self.file):
            for block in _blocks(TextStream(self.file)):
                whole = block[: block.rfind(b"\n") + 1]  # a server may be writing the last line
                yield json_infinities.decode_documents(whole)

    def parts(self, columns: list[str], reader: BatchReader, batch_rows: int) -> Iterator[Part]:
        """Yield a part for each block."""
        del columns  # documents have all of theirs
        stream = TextStream(self.file)
        first = count = 0
        with _json_errors(self.file):
            for block in _blocks(stream):
                documents = _documents(block, self.file, first)
                yield block_part(self.file, count, first, documents, reader.of_documents, batch_rows)
                first, count = first + len(documents), count + 1
                self._read_rows, self._read_bytes = first, stream.read_bytes
        self._read_bytes = self.file.size_bytes


def _member_names(document: Any, schema: Schema) -> list[str]:
    """Return what can be kept of rows like a document: its members, and those of the row in it."""
    row = features_of(document, schema.names)
    found = (
        [] if row is document or not isinstance(document, dict) else [name for name in document if name != "features"]
    )
    return [*found, *(name for name in (row if isinstance(row, dict) else ()) if name not in found)]


def _blocks(stream: TextStream) -> Iterator[bytes]:
    """Yield whole lines of about 16 MB; everything if it is an array, or has a document on several lines."""
    waiting = _read(stream, BLOCK_BYTES).removeprefix(_BOM)
    is_array = waiting.lstrip()[:1] == b"["
    while True:
        chunk = _read(stream, BLOCK_BYTES)
        if not chunk:
            yield waiting
            return
        if not is_array:
            end = waiting.rfind(b"\n") + 1
            if end:
                yield waiting[:end]
                waiting = waiting[end:]
        waiting += chunk


def _documents(block: bytes, file: InputFile, first_row: int) -> list[Any]:
    """Return the documents of a block; an error names the row and the text that is wrong."""
    try:
        return json_infinities.decode_documents(block)
    except msgspec.MsgspecError as error:
        if block.lstrip()[:1] == b"[":
            raise
        for row, line in enumerate((line for line in block.split(b"\n") if line.strip()), first_row):
            try:
                json_infinities.decode(line)
            except msgspec.MsgspecError as wrong:
                text = clip(line.decode(errors="replace"))
                raise InvalidRequestError(
                    f"{file} is neither a JSON array nor JSON lines: row {row}: {wrong}: {text}", row=row
                ) from error
        raise


def _read(stream: TextStream, count: int) -> bytes:
    found = bytearray()
    while len(found) < count and (chunk := stream.read(min(_CHUNK_BYTES, count - len(found)))):
        found += chunk
    return bytes(found)


def _first_document(first: bytes) -> Any:
    """Return the first document; None if it is not whole."""
    text = first.decode("utf-8-sig", errors="ignore").lstrip().removeprefix("[").lstrip()
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


@contextmanager
def _json_errors(file: InputFile) -> Iterator[None]:
    try:
        with file.read_errors("a JSON file"):
            yield
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{file} is neither a JSON array nor JSON lines: {error}") from error
