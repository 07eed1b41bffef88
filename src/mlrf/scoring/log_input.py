"""Prediction logs of a server as rows to score: JSON lines and Parquet files of `mlrf serve --prediction-log`.

1. A file is a log if each of its records has the members of one. An instance of a request is a row, and a prediction by key the
   features that it was answered from.
2. Columns to keep are those that identify a row (`RECORD_COLUMNS`), and its features.
3. The last line of a file that a server is writing is left out if it is incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from mlrf.core.errors import InvalidRequestError
from mlrf.model.logged_predictions import timestamp_text
from mlrf.model.logged_rows import LOG_MEMBERS, RECORD_COLUMNS, decoded, keys_of_request, rows_of_request
from mlrf.scoring.input_files import InputFile
from mlrf.scoring.parts import Part, block_part
from mlrf.scoring.row_batches import Batch, BatchReader

_BATCH_RECORDS = 4096
_PART_ROWS = 1 << 16
_JSON_COLUMNS = ("request", "answer", "features")


class _Row(NamedTuple):
    features: Any
    record: dict[str, Any]
    """What identifies the row."""


class LogInput:
    """The records of a prediction log; `names` are those of the columns that can be kept."""

    digest = ""
    types: Sequence[Any] = ()

    def __init__(self, file: InputFile, records: Iterable[Iterable[Any]], n_rows: int, open_bytes: int) -> None:
        """Take batches of the log's records, as decoded JSON."""
        self.file = file
        self.names = list(RECORD_COLUMNS)
        self.n_rows = n_rows
        self.open_bytes = open_bytes
        self._records = records

    def parts(self, columns: list[str], reader: BatchReader, batch_rows: int) -> Iterator[Part]:
        """Yield a part for each 65,536 rows, or some more if a request has many."""
        del columns

        def read(rows: Sequence[_Row], first_row: int) -> Batch:
            return reader.of_documents([each.features for each in rows], first_row, [each.record for each in rows])

        first = count = 0
        waiting: list[_Row] = []
        for batch in self._records:
            for record in batch:
                waiting += self._rows_of(record)
            if len(waiting) >= _PART_ROWS:
                yield block_part(self.file, count, first, waiting, read, batch_rows)
                first, count, waiting = first + len(waiting), count + 1, []
        if waiting or not count:
            yield block_part(self.file, count, first, waiting, read, batch_rows)
        self.n_rows = first + len(waiting)

    def _rows_of(self, record: Any) -> list[_Row]:
        if not is_record(record):
            raise InvalidRequestError(f"{self.file} contains {record!r:.60}, which is no record of a prediction log")
        request, answer = record["request"], record["answer"]
        try:
            rows = rows_of_request(request, record.get("features"))
        except InvalidRequestError as error:
            raise InvalidRequestError(
                f"{self.file}: the request {record['request_id']} of {record['route']} {error}"
            ) from error
        keys = keys_of_request(request, len(rows))
        identity = {name: record.get(name) for name in ("time", "request_id", "route")} | _origin(answer)
        return [
            _Row(row, {**identity, "instance": index, "key": key})
            for index, (row, key) in enumerate(zip(rows, keys, strict=True))
        ]


def is_record(document: Any) -> bool:
    """Whether a decoded document is a record of a prediction log."""
    return isinstance(document, Mapping) and document.keys() >= LOG_MEMBERS


def parquet_records(file: InputFile, metadata: Any) -> Iterator[Iterator[Any]]:
    """Yield the records of a Parquet file of a log, in batches."""
    with (
        file.read_errors("a Parquet file"),
        pq.ParquetFile(file.open(), metadata=metadata, pre_buffer=False, page_checksum_verification=True) as opened,
    ):
        for batch in opened.iter_batches(_BATCH_RECORDS):
            yield map(_decoded, batch.to_pylist())


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    texts = {name: row[name] for name in _JSON_COLUMNS if isinstance(row.get(name), str)}
    try:
        documents = {name: decoded(text.encode()) for name, text in texts.items()}
    except InvalidRequestError as error:
        raise InvalidRequestError(f"the record {row.get('request_id')} {error}") from error
    return {**row, **documents, "time": timestamp_text(row["time"])}


def _origin(answer: Any) -> dict[str, str | None]:
    """Return name and version of the model that answered, in the native form or that of the inference protocol."""
    if not isinstance(answer, Mapping):
        return {"model": None, "version": None}
    parameters = answer.get("parameters")
    version = parameters.get("bundle_version") if isinstance(parameters, Mapping) else answer.get("version")
    return {"model": answer.get("model") or answer.get("model_name"), "version": version}
