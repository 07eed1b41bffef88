"""Handles `/invocations`, as MLflow, SageMaker and Vertex AI call it: the head says how a body is read and answered."""

from __future__ import annotations

from functools import partial

from mlrf.core.errors import InvalidRequestError, UnsupportedMediaTypeError
from mlrf.serving.http.accept_header import preferred_types
from mlrf.serving.http.gzip_body import unzip_whole
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import JSON, Framed, check_json, unzipping
from mlrf.serving.native.split_rows import rows_of_split
from mlrf.serving.platforms import json_rows
from mlrf.serving.platforms.csv_rows import Header, header_of, rows_of_csv
from mlrf.serving.platforms.responses import Shape
from mlrf.serving.platforms.rows_handler import PlatformModel, ReadRows, RowsHandler
from mlrf.serving.runtime.results import Handler, Result, followed

_VERTEX_FORMS: dict[str, json_rows.Reader] = {"instances": json_rows.rows_of_list}
_MLFLOW_FORMS: dict[str, json_rows.Reader] = {
    "dataframe_split": rows_of_split,
    "dataframe_records": json_rows.rows_of_records,
    "instances": json_rows.rows_of_list,
    "inputs": json_rows.rows_or_columns,
}
_SAGEMAKER_FORMS: dict[str, json_rows.Reader] = {**_MLFLOW_FORMS, "instances": json_rows.rows_of_instances}
_JSON_LINES = frozenset(
    (b"application/jsonlines", b"application/jsonl", b"application/x-jsonlines", b"application/x-ndjson")
)
CUSTOM_ATTRIBUTES = b"X-Amzn-SageMaker-Custom-Attributes"
_MAX_ATTRIBUTES_BYTES = 1024
_HEADERS = {
    None: Header.EXACT,
    "mlflow": Header.PRESENT,
    "sagemaker": Header.DETECT,
}
_ACCEPTED = {
    "mlflow": ["application/json", "text/csv"],
    "sagemaker": ["application/json", "text/csv", "application/jsonlines"],
    "vertex": ["application/json"],
}


def invocations(model: PlatformModel) -> Handler:
    """Return the handler of `/invocations`."""
    return InvocationsHandler(model)


def fit(handler: Handler, head: Head, max_body_bytes: int) -> Handler:
    """Return the handler of a head's body: for `/invocations` by its content type, otherwise the handler itself."""
    return handler.fitted(head, max_body_bytes) if isinstance(handler, InvocationsHandler) else handler


class InvocationsHandler:
    """Answers `/invocations`, whose bodies the head describes."""

    def __init__(self, model: PlatformModel) -> None:
        self._model = model

    def __call__(self, body: bytes) -> Result:
        """Answer a JSON body."""
        return self._handler_of(None, None)(body)

    def without_explanations(self) -> Handler:
        """Return the same handler: no member of these bodies requests explanations."""
        return self

    def fitted(self, head: Head, max_body_bytes: int) -> Handler:
        """Return the handler of a head's body; raises UnsupportedMediaTypeError."""
        handler = self._handler_of(head.content_type, head.accept)
        attributes = head.custom_attributes
        if attributes is not None and self._model.platform == "sagemaker":
            if len(attributes) > _MAX_ATTRIBUTES_BYTES or not attributes.isascii():
                raise InvalidRequestError(
                    f"{CUSTOM_ATTRIBUTES.decode()} must be at most {_MAX_ATTRIBUTES_BYTES} ASCII characters",
                    field="custom attributes",
                )
            handler = _AttributedHandler(handler, attributes)
        encoding = (head.content_encoding or b"identity").strip().lower()
        if encoding == b"identity":
            return handler
        if encoding == b"gzip":
            return _UnzippingHandler(handler, max_body_bytes)
        raise UnsupportedMediaTypeError("the only Content-Encoding supported is gzip", accepted=["gzip", "identity"])

    def _handler_of(self, content_type: bytes | None, accept: bytes | None) -> RowsHandler:
        """Return the handler of bodies of a content type; UnsupportedMediaTypeError for others."""
        platform, responses = self._model.platform, self._model.responses
        kind, _, parameters = (content_type or b"application/json").partition(b";")
        kind = kind.strip().lower()
        if kind == b"text/csv" and platform != "vertex":
            read: ReadRows = partial(self._csv, header_of(parameters, _HEADERS[platform]))
            return self._shaped(read, responses.csv if platform == "sagemaker" else responses.predictions, accept)
        if kind in _JSON_LINES and platform == "sagemaker":
            return self._shaped(partial(json_rows.rows_of_lines, self._model.writer), responses.json_lines, accept)
        if kind != b"application/json":
            raise self._unsupported(kind)
        check_json(content_type)
        if platform == "sagemaker":
            return self._shaped(self._sagemaker_json, None, accept)
        if platform == "vertex":
            read = partial(self._form, _VERTEX_FORMS, "parameters")
        else:
            read = partial(self._form, _MLFLOW_FORMS, "params")
        return self._shaped(read, responses.predictions, accept)

    def _shaped(self, read: ReadRows, shape: Shape | None, accept: bytes | None) -> RowsHandler:
        if self._model.platform == "sagemaker":
            shape = self._accepted(accept, shape)
        if shape is None:
            return _SameShapeHandler(read, self._model)
        return RowsHandler(read, self._model.batch, shape)

    def _accepted(self, accept: bytes | None, like_body: Shape | None) -> Shape | None:
        """Return the shape that an Accept header prefers; UnsupportedMediaTypeError for no supported one.

        `like_body` is the shape for `*/*`. It is None for a JSON body, whose answer is an array if the body is one, and
        otherwise an object.
        """
        for kind in preferred_types(accept or b"*/*"):
            if kind in (b"", b"*/*"):
                return like_body
            if kind in (b"text/csv", b"text/*"):
                return self._model.responses.csv
            if kind in _JSON_LINES:
                return self._model.responses.json_lines
            if kind in (b"application/json", b"application/*"):
                return None if like_body is None else self._model.responses.predictions
        raise UnsupportedMediaTypeError(
            f"Accept: {(accept or b'').decode(errors='replace')[:80]} is not supported; accept application/json, text/csv or "
            "application/jsonlines",
            accepted=_ACCEPTED["sagemaker"],
        )

    def _unsupported(self, kind: bytes) -> UnsupportedMediaTypeError:
        accepted = _ACCEPTED[self._model.platform or "mlflow"]
        hint = "; --platform sagemaker accepts JSON lines too" if kind in _JSON_LINES else ""
        return UnsupportedMediaTypeError(
            f"a body of {kind.decode(errors='replace')[:80]!r} is not supported by this route; send "
            f"{' or '.join(accepted)}{hint}",
            accepted=accepted,
        )

    def _form(self, forms: dict[str, json_rows.Reader], parameters: str, body: bytes) -> list[bytes]:
        return json_rows.rows_of_form(self._model.writer, body, forms, parameters)

    def _csv(self, header: Header, body: bytes) -> list[bytes]:
        return rows_of_csv(self._model.writer, body, header)

    def _sagemaker_json(self, body: bytes) -> list[bytes]:
        writer = self._model.writer
        if body.lstrip(b" \t\r\n").startswith(b"["):
            return json_rows.rows_of_instances(writer, json_rows.document(writer, body), "the body")
        return self._form(_SAGEMAKER_FORMS, "params", body)


class _AttributedHandler(RowsHandler):
    """Adds the caller's custom attributes to the answer (SageMaker: an opaque text, such as a request's id)."""

    def __init__(self, handler: RowsHandler, attributes: bytes) -> None:
        self._answer = handler
        self._line = b"%b: %b\r\n" % (CUSTOM_ATTRIBUTES, attributes)

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        return followed(self._answer(body), self._attributed)

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """As of `RowsHandler`."""
        return self._answer.as_json(body, answer)

    def _attributed(self, answer: bytes) -> bytes:
        if isinstance(answer, Framed):
            return Framed(answer, answer.content_type, answer.lines + self._line)
        return Framed(answer, JSON, self._line)


class _UnzippingHandler:
    """Decompresses gzip bodies and passes them to another handler."""

    def __init__(self, handler: RowsHandler, max_body_bytes: int) -> None:
        self._handler = handler
        self._max_body_bytes = max_body_bytes
        self._answer = unzipping(handler, max_body_bytes)

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        return self._answer(body)

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """As of `RowsHandler`."""
        return self._handler.as_json(unzip_whole(body, self._max_body_bytes), answer)


class _SameShapeHandler(RowsHandler):
    """Answers an array with an array, and an object with an object."""

    def __init__(self, read: ReadRows, model: PlatformModel) -> None:
        super().__init__(read, model.batch, model.responses.predictions)
        self._array = RowsHandler(read, model.batch, model.responses.array)

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        return self._array(body) if body.lstrip(b" \t\r\n").startswith(b"[") else super().__call__(body)
