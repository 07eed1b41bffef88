"""The handlers of other platforms' routes for one model: choose how a body is read and in which shape it is answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from mlrf.core.errors import InvalidRequestError, UnsupportedMediaTypeError
from mlrf.core.schema import Schema
from mlrf.serving.http.accept_header import preferred_types
from mlrf.serving.http.gzip_body import unzip_whole
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import JSON, Framed, check_json, unzipping
from mlrf.serving.native.canonical_rows import RowWriter, batch_body
from mlrf.serving.native.json_scanner import KnownMembers
from mlrf.serving.native.split_rows import rows_of_split
from mlrf.serving.platforms import json_rows
from mlrf.serving.platforms.csv_rows import Header, header_of, rows_of_csv
from mlrf.serving.platforms.responses import Responses, Shape
from mlrf.serving.platforms.settings import Platform
from mlrf.serving.runtime.results import Continued, Deferred, Handler, Result, followed
from mlrf.serving.runtime.thresholds import STRICT_JSON_BYTES

ReadRows = Callable[[bytes], list[bytes]]
_V1_FORMS: dict[str, json_rows.Reader] = {"instances": json_rows.rows_of_list, "inputs": json_rows.rows_of_list}
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
_known_members = cache(KnownMembers)
_ACCEPTED = {
    "mlflow": ["application/json", "text/csv"],
    "sagemaker": ["application/json", "text/csv", "application/jsonlines"],
    "vertex": ["application/json"],
}


class RowsHandler:
    """Answers bodies by rewriting them for the native route of batches."""

    def __init__(self, read: ReadRows, batch: Handler, shape: Shape, *, explains: bool = False) -> None:
        """`read` returns the rows of a body, `batch` answers `/predict/batch`, `shape` rewrites its answer."""
        self._read = read
        self._batch = batch
        self._shape = shape
        self._explains = explains

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        if len(body) > STRICT_JSON_BYTES:
            return followed(Continued(Deferred(partial(self._rewritten, body)), self._batch), self._shaped)
        return followed(self._batch(self._rewritten(body)), self._shaped)

    def without_explanations(self) -> Handler:
        """Return the same handler: no member of these bodies requests explanations."""
        return self

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """Return the native form of a body that was answered, and its answer as JSON; for the prediction log."""
        text = bytes(answer)
        is_json = getattr(answer, "content_type", JSON) == JSON
        return self._rewritten(body), text if is_json else _as_json_strings(text)

    def _rewritten(self, body: bytes) -> bytes:
        return batch_body(self._read(body), explain=self._explains)

    def _shaped(self, answer: bytes) -> Result:
        if len(answer) > STRICT_JSON_BYTES:
            return Deferred(lambda: self._shape(answer))
        return self._shape(answer)


class PlatformHandlers:
    """The handlers of one model."""

    def __init__(
        self, schema: Schema, max_rows: int, batch: Handler, platform: Platform | None, *, predicts_labels: bool
    ) -> None:
        """`batch` answers `/predict/batch`; `predicts_labels`: whether `predict` of the object that was built returns them."""
        self._writer = RowWriter(schema, max_rows, "--max-infer-rows")
        self._batch = batch
        self._platform = platform
        self._responses = Responses(predicts_labels=predicts_labels)

    @property
    def is_sagemaker(self) -> bool:
        """Whether the answers are those of SageMaker's containers."""
        return self._platform == "sagemaker"

    # Handlers refer to this object. If it kept one, that would be a reference cycle, and the model would stay open.
    @property
    def v1_predict(self) -> Handler:
        """The handler of `/v1/models/{name}:predict`."""
        return RowsHandler(self._v1_rows, self._batch, self._responses.predictions)

    @property
    def v1_explain(self) -> Handler:
        """The handler of `/v1/models/{name}:explain`."""
        return RowsHandler(self._v1_rows, self._batch, self._responses.explanations, explains=True)

    @property
    def invocations(self) -> Handler:
        """The handler of `/invocations`."""
        return InvocationsHandler(self)

    def invocation(self, content_type: bytes | None, accept: bytes | None) -> RowsHandler:
        """Return the handler of `/invocations` bodies of a content type; UnsupportedMediaTypeError for others."""
        platform, responses = self._platform, self._responses
        kind, _, parameters = (content_type or b"application/json").partition(b";")
        kind = kind.strip().lower()
        if kind == b"text/csv" and platform != "vertex":
            read: ReadRows = partial(self._csv, header_of(parameters, _HEADERS[platform]))
            return self._handler(read, responses.csv if platform == "sagemaker" else responses.predictions, accept)
        if kind in _JSON_LINES and platform == "sagemaker":
            return self._handler(partial(json_rows.rows_of_lines, self._writer), responses.json_lines, accept)
        if kind != b"application/json":
            raise self._unsupported(kind)
        check_json(content_type)
        if platform == "sagemaker":
            return self._handler(self._sagemaker_json, None, accept)
        if platform == "vertex":
            read = partial(self._member, _VERTEX_FORMS, "parameters", ("parameters",))
        else:
            read = partial(self._member, _MLFLOW_FORMS, "params", ("params",))
        return self._handler(read, responses.predictions, accept)

    def _handler(self, read: ReadRows, shape: Shape | None, accept: bytes | None) -> RowsHandler:
        if self._platform == "sagemaker":
            shape = self._accepted(accept, shape)
        if shape is None:
            return _SameShapeHandler(read, self._batch, self._responses)
        return RowsHandler(read, self._batch, shape)

    def _accepted(self, accept: bytes | None, like_body: Shape | None) -> Shape | None:
        """Return the shape that an Accept header prefers; UnsupportedMediaTypeError for no supported one.

        `like_body` is the shape for `*/*`. It is None for a JSON body, whose answer is an array if the body is one, and
        otherwise an object.
        """
        for kind in preferred_types(accept or b"*/*"):
            if kind in (b"", b"*/*"):
                return like_body
            if kind in (b"text/csv", b"text/*"):
                return self._responses.csv
            if kind in _JSON_LINES:
                return self._responses.json_lines
            if kind in (b"application/json", b"application/*"):
                return None if like_body is None else self._responses.predictions
        raise UnsupportedMediaTypeError(
            f"Accept: {(accept or b'').decode(errors='replace')[:80]} is not supported; accept application/json, text/csv or "
            "application/jsonlines",
            accepted=_ACCEPTED["sagemaker"],
        )

    def _unsupported(self, kind: bytes) -> UnsupportedMediaTypeError:
        accepted = _ACCEPTED[self._platform or "mlflow"]
        hint = "; --platform sagemaker accepts JSON lines too" if kind in _JSON_LINES else ""
        return UnsupportedMediaTypeError(
            f"a body of {kind.decode(errors='replace')[:80]!r} is not supported by this route; send "
            f"{' or '.join(accepted)}{hint}",
            accepted=accepted,
        )

    def _member(
        self, forms: dict[str, json_rows.Reader], parameters: str, others: tuple[str, ...], body: bytes
    ) -> list[bytes]:
        known = _known_members((*forms, *others))
        members = json_rows.body_members(self._writer, body, f'{{"{next(iter(forms))}": …}}', known)
        name = json_rows.the_one_form(members, forms, others)
        json_rows.refuse_parameters(members, parameters)
        return forms[name](self._writer, members[name], name)

    def _v1_rows(self, body: bytes) -> list[bytes]:
        return self._member(_V1_FORMS, "parameters", ("parameters", "signature_name"), body)

    def _csv(self, header: Header, body: bytes) -> list[bytes]:
        return rows_of_csv(self._writer, body, header)

    def _sagemaker_json(self, body: bytes) -> list[bytes]:
        if body.lstrip(b" \t\r\n").startswith(b"["):
            return json_rows.rows_of_instances(self._writer, json_rows.document(self._writer, body), "the body")
        return self._member(_SAGEMAKER_FORMS, "params", ("params",), body)


class InvocationsHandler:
    """Answers `/invocations`, whose bodies the head describes."""

    def __init__(self, handlers: PlatformHandlers) -> None:
        self._handlers = handlers

    def __call__(self, body: bytes) -> Result:
        """Answer a JSON body."""
        return self._handlers.invocation(None, None)(body)

    def without_explanations(self) -> Handler:
        """Return the same handler: no member of these bodies requests explanations."""
        return self

    def fitted(self, head: Head, max_body_bytes: int) -> Handler:
        """Return the handler of a head's body; raises UnsupportedMediaTypeError."""
        handler: RowsHandler = self._handlers.invocation(head.content_type, head.accept)
        attributes = head.custom_attributes
        if attributes is not None and self._handlers.is_sagemaker:
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

    def __init__(self, read: ReadRows, batch: Handler, responses: Responses) -> None:
        super().__init__(read, batch, responses.predictions)
        self._array = RowsHandler(read, batch, responses.array)

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        return self._array(body) if body.lstrip(b" \t\r\n").startswith(b"[") else super().__call__(body)


def fit(handler: Handler, head: Head, max_body_bytes: int) -> Handler:
    """Return the handler of a head's body: for `/invocations` by its content type, otherwise the handler itself."""
    return handler.fitted(head, max_body_bytes) if isinstance(handler, InvocationsHandler) else handler


def _as_json_strings(text: bytes) -> bytes:
    """Return lines of CSV or of JSON as one JSON array of strings."""
    import msgspec  # noqa: PLC0415  for the prediction log alone

    return msgspec.json.encode(text.decode().splitlines())
