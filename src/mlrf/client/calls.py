"""The calls of a client, without input and output ("sans I/O"): generators that yield requests and are sent the responses.

`Client` sends the requests with the standard library, `AsyncClient` with httpx. Only this module knows which requests a call
makes, and how its result follows from the responses. An error of a request is raised at its `yield`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
import numpy as np

from mlrf.client.curve_answers import read_curve
from mlrf.client.errors import VersionChangedError, not_of_mlrf, reading
from mlrf.client.explain_options import ExplainOptions
from mlrf.client.frames import like
from mlrf.client.http_messages import Request, Response
from mlrf.client.served_model import ServedModel, class_names, read_served_model
from mlrf.client.table_inference import TableInference
from mlrf.client.tensors import Array, InferResponse
from mlrf.core.errors import BatchTooLargeError, InvalidRequestError, ModelNotFoundError, NotReadyError
from mlrf.core.json_infinities import encoded_infinities
from mlrf.core.leniency import Leniency
from mlrf.model.base_margins import starts_of
from mlrf.model.curve import Curve
from mlrf.model.table_input import read_rows

T = TypeVar("T")
Call = Generator[Request, Response, T]
_CHUNK_KEYS = 100
"""The server's default for --max-batch."""
_ATTEMPTS_AT_ONE_VERSION = 2


class Calls:
    """The calls for one model of a server, by default the default model. The methods are those of `Client`."""

    def __init__(self, model: str | None, leniency: Leniency) -> None:
        self._model = model
        self._leniency = msgspec.structs.replace(leniency, caller="client")
        self._tables = TableInference()
        self._served: ServedModel | None = None
        self._chunk_keys = _CHUNK_KEYS

    def models(self) -> Call[dict[str, Any]]:
        """Return the document of `GET /models`."""
        document: dict[str, Any] = yield from _get("/models")
        return document

    def is_ready(self) -> Call[bool]:
        """Return whether the server reports that it is ready."""
        try:
            yield from _get("/readyz")
        except NotReadyError:
            return False
        return True

    def predict(self, rows: Any, base_margin: Any = None) -> Call[Any]:
        """Return predictions of a record or a table."""
        if isinstance(rows, Mapping):
            return _member((yield from self._predict_one(rows, _started(base_margin))), "prediction")
        served, values = yield from self._infer_one(rows, "prediction", base_margin)
        return like(rows, "prediction", values, class_names(served, values))

    def predict_proba(self, rows: Any, base_margin: Any = None) -> Call[Any]:
        """Return the probabilities of a classifier's classes."""
        if isinstance(rows, Mapping):
            answer = yield from self._predict_one(rows, _started(base_margin))
            if "probabilities" not in answer:
                raise _no_classifier(_member(answer, "model"))
            return answer["probabilities"]
        known = yield from self._known()
        if known.classes is None:
            raise _no_classifier(known.name)
        served, values = yield from self._infer_one(rows, "probabilities", base_margin)
        return like(rows, "probabilities", values, class_names(served, values))

    def leaves(self, rows: Any) -> Call[Any]:
        """Return the leaves that a record or the rows of a table reach."""
        if isinstance(rows, Mapping):
            return _member((yield from self._predict_one(rows, {"leaves": True})), "leaves")
        _, values = yield from self._infer_one(rows, "leaves")
        return values

    def explain(
        self,
        rows: Any,
        top: int | None,
        base_margin: Any = None,
        interactions: bool | int = False,
        game: Mapping[str, object] = MappingProxyType({}),
    ) -> Call[Any]:
        """Return the explanation of a record, or an Explanation of a table; `game` has the options of its game."""
        options = ExplainOptions(top, interactions, game)
        options.check()
        if isinstance(rows, Mapping):
            parts = {"explain": options.member(), **_started(base_margin)}
            return _member((yield from self._predict_one(rows, parts)), "explanation")
        served, found = yield from self._infer(rows, options.outputs(), base_margin, options.parameters())
        table = read_rows(served.schema, rows, self._leniency)
        return options.explanation(served, table, found, is_one_base=base_margin is None)

    def curve(self, row: Mapping[str, Any], features: str | Sequence[str]) -> Call[Curve]:
        """Return the response curve of a record over one feature or two."""
        names = [features] if isinstance(features, str) else list(features)
        is_stored = "key" in row and set(row) <= {"key", "overrides"} and isinstance(row["key"], Mapping)
        body = {**(_stored(row) if is_stored else {"features": encoded_infinities(row)}), "vary": names}
        answer = yield from self._post("/curve", body)
        with reading(msgspec.json.encode(answer)):
            return read_curve(answer)

    def by_key(
        self,
        keys: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        overrides: Mapping[str, Any] | None,
        explain: bool | int,
    ) -> Call[Any]:
        """Return the server's answer for one stored row, or a list of answers."""
        if isinstance(keys, Mapping):
            body: dict[str, Any] = {"key": keys}
            if overrides:
                body["overrides"] = encoded_infinities(overrides)
            if explain is not False:
                body["explain"] = explain
            return (yield from self._post("/predict", body))
        if overrides:
            raise InvalidRequestError("`overrides` apply to a single key; call once for each key")
        answers: list[dict[str, Any]] = []
        while len(answers) < len(keys):
            chunk = [{"key": key} for key in keys[len(answers) : len(answers) + self._chunk_keys]]
            body = {"instances": chunk} if explain is False else {"instances": chunk, "explain": explain}
            try:
                answer = yield from self._post("/predict/batch", body)
            except BatchTooLargeError as error:
                self._chunk_keys = _fewer_keys(error, len(chunk))
                continue
            with reading(msgspec.json.encode(answer)):
                answers += _split(answer, len(chunk))
        if len({_member(each, "version") for each in answers}) > 1:
            raise _version_changed(answers[0]["model"])
        return answers

    def _predict_one(self, record: Mapping[str, Any], members: Mapping[str, Any]) -> Call[dict[str, Any]]:
        return (yield from self._post("/predict", {"features": encoded_infinities(record), **members}))

    def _post(self, path: str, body: Any) -> Call[dict[str, Any]]:
        try:
            content = msgspec.json.encode(body, enc_hook=_plain)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidRequestError(
                f"the record cannot be written as JSON ({' '.join(str(error).split())}); send names and numbers, strings or "
                "booleans"
            ) from error
        prefix = "" if self._model is None else f"/models/{self._model}"
        return _document((yield Request("POST", prefix + path, content)))

    def _known(self) -> Call[ServedModel]:
        """Return the model's description, requested from the server once, and again when its version has changed."""
        served = self._served
        if served is None:
            document = yield from _get("/models")
            with reading(msgspec.json.encode(document)):
                served = self._served = read_served_model(document, self._model)
        return served

    def _infer_one(self, rows: Any, output: str, base_margin: Any = None) -> Call[tuple[ServedModel, Array]]:
        served, found = yield from self._infer(rows, (output,), base_margin)
        (values,) = found.outputs.values()
        return served, values

    def _infer(
        self,
        rows: Any,
        outputs: Sequence[str],
        base_margin: Any = None,
        parameters: Mapping[str, bool] | None = None,
    ) -> Call[tuple[ServedModel, InferResponse]]:
        """Return outputs of a whole table; all chunks are answered by the version whose schema was used to read the table."""
        for _ in range(_ATTEMPTS_AT_ONE_VERSION):
            served = yield from self._known()
            table = read_rows(served.schema, rows, self._leniency)
            try:
                starts = None if base_margin is None else _starts(base_margin, len(table), served.n_outputs)
                return served, (yield from self._tables.infer(served, table, outputs, starts, parameters))
            except ModelNotFoundError as error:
                if "version" not in error.details:
                    raise
                self._served = None
        raise _version_changed(served.name)


def _stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a request about a stored row."""
    overrides = row.get("overrides")
    if not isinstance(overrides, Mapping):
        return dict(row)
    return {**row, "overrides": encoded_infinities(overrides)}


def _started(base_margin: Any) -> dict[str, Any]:
    """Return the member of a request about one record that gives its base margin."""
    if base_margin is None:
        return {}
    return {"base_margin": base_margin.tolist() if isinstance(base_margin, np.ndarray) else base_margin}


def _starts(base_margin: Any, n_rows: int, n_outputs: int) -> Array:
    """Return base margins as [n, K]: K as given, because only the server knows the outputs of a regression."""
    shape = np.shape(base_margin)
    n_outputs = shape[1] if len(shape) == 2 else n_outputs  # noqa: PLR2004
    return np.array(starts_of(base_margin, n_rows, n_outputs)).reshape(n_rows, n_outputs)


def _fewer_keys(error: BatchTooLargeError, n_keys: int) -> int:
    """Return how many keys a request may have; raise the error if that is none, or no fewer than it had."""
    most = error.details.get("max_instances", 0)
    if not isinstance(most, int) or not 0 < most < n_keys:
        raise error
    return most


def _get(path: str) -> Call[dict[str, Any]]:
    return _document((yield Request("GET", path, None)))


def _document(response: Response) -> dict[str, Any]:
    with reading(response.content):
        return msgspec.json.decode(response.content, type=dict[str, Any])


def _member(answer: Mapping[str, Any], name: str) -> Any:
    if name not in answer:
        raise not_of_mlrf(msgspec.json.encode(answer))
    return answer[name]


def _split(answer: Mapping[str, Any], n_rows: int) -> Iterator[dict[str, Any]]:
    """Yield the answer of each instance of a batch."""
    arrays = {"predictions": "prediction", "labels": "label", "explanations": "explanation"}
    for index in range(n_rows):
        one: dict[str, Any] = {}
        for name, value in answer.items():
            if isinstance(value, list):
                one[arrays.get(name, name)] = value[index]
            else:
                one[name] = value
        yield one


def _plain(value: Any) -> Any:
    """Return a JSON value for a NumPy value or a date."""
    if isinstance(value, np.generic):
        plain = value.item()
        return encoded_infinities({"": plain})[""]
    raise InvalidRequestError(
        f"a value of type {type(value).__name__} cannot be sent; send a number, string or boolean"
    )


def _no_classifier(name: str) -> InvalidRequestError:
    return InvalidRequestError(f"the model {name} is not a classifier and has no probabilities; call predict")


def _version_changed(name: str) -> VersionChangedError:
    return VersionChangedError(f"the model {name} was replaced during the call; repeat the call", model=name)
