"""`Client`: predictions, explanations and look-ups by key from a running server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from mlrf.client.curves import read_curve
from mlrf.client.errors import VersionChangedError
from mlrf.client.frames import like
from mlrf.client.served_model import ServedModel, class_names, read_served_model
from mlrf.client.table_inference import TableInference
from mlrf.client.tensors import Array
from mlrf.client.transport import Transport
from mlrf.core.errors import InvalidRequestError, ModelNotFoundError
from mlrf.core.json_infinities import encoded_infinities
from mlrf.core.leniency import STRICT, Leniency
from mlrf.model.curve import Curve
from mlrf.model.explanation import Explanation
from mlrf.model.table_input import read_rows

_CHUNK_KEYS = 100
"""The server's default for --max-batch."""
_ATTEMPTS_AT_ONE_VERSION = 2


class Client:
    """A client of one server; thread-safe; close it or use it in a `with` block.

    Example:
        with Client("http://localhost:8080") as client:
            client.predict({"price": 3.5, "promo": True, "store": "a"})
            client.predict(frame)

    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 3,
        ca_file: str | None = None,
        compress: bool = False,
        leniency: Leniency = STRICT,
    ) -> None:
        """Store the settings; connections are opened by requests.

        `model`: the name of a served model; without it the server's default. `key`: an API key, sent as a bearer token.
        `timeout_s`: seconds for a whole call, including retries and chunks. `retries`: attempts after the first for a
        request that could not be delivered or was answered with 503. `ca_file`: certificates to trust instead of the system's.
        `compress`: send bodies of 1 KiB and more in gzip. `leniency`: how tables are read, as in `Model.predict`.
        ConfigError if the URL is invalid.
        """
        self._url = url
        self._model = model
        self._leniency = leniency
        self._transport = Transport(
            url, key=key, timeout_s=timeout_s, ca_file=ca_file, compress=compress, retries=retries
        )
        self._tables = TableInference(self._transport)
        self._served: ServedModel | None = None

    def __repr__(self) -> str:
        return f"Client({self._url!r}, model={self._model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client may still be used and opens new ones."""
        self._transport.close()

    def models(self) -> dict[str, Any]:
        """Return the served models: the document of `GET /models`."""
        document: dict[str, Any] = self._get("/models", self._transport.deadline_s())
        return document

    def is_ready(self) -> bool:
        """Return whether the server reports that it is ready; raises errors of the connection."""
        from mlrf.core.errors import NotReadyError  # noqa: PLC0415

        try:
            self._get("/readyz", self._transport.deadline_s())
        except NotReadyError:
            return False
        return True

    def predict(self, rows: Any, *, timeout_s: float | None = None) -> Any:
        """Return predictions: what the training library's `predict` returns for the model.

        `rows`: one record (a mapping by feature name) gives a float, or K floats of a multiclass model. A table (pandas,
        Polars, Arrow, a NumPy array [n, F] with categories as codes, or a list of records) gives [n] or [n, K] values as a
        series or frame of the same library, NumPy for arrays and lists. All chunks of a table are answered by one version
        of the model; VersionChangedError if it was replaced twice meanwhile. Errors are those of `mlrf.core.errors`.
        """
        deadline_s = self._transport.deadline_s(timeout_s)
        if isinstance(rows, Mapping):
            return self._predict_one(rows, {}, deadline_s)["prediction"]
        served, (values,) = self._infer(rows, ("prediction",), deadline_s)
        return like(rows, "prediction", values, class_names(served, values))

    def predict_proba(self, rows: Any, *, timeout_s: float | None = None) -> Any:
        """Return the probabilities of a classifier's classes in the order of `classes` in `models()`; `rows` as for `predict`.

        InvalidRequestError for a model that is not a classifier.
        """
        deadline_s = self._transport.deadline_s(timeout_s)
        if isinstance(rows, Mapping):
            answer = self._predict_one(rows, {}, deadline_s)
            if "probabilities" not in answer:
                raise _no_classifier(answer["model"])
            return answer["probabilities"]
        if self._known(deadline_s).classes is None:
            raise _no_classifier(self._known(deadline_s).name)
        served, (values,) = self._infer(rows, ("probabilities",), deadline_s)
        return like(rows, "probabilities", values, class_names(served, values))

    def explain(self, rows: Any, *, top: int | None = None, timeout_s: float | None = None) -> Any:
        """Return exact Shapley values of the raw margin.

        One record gives the server's explanation (`margin`, `base`, `contributions`, `other`); `top` limits it to that many
        features. A table gives an `mlrf` Explanation of all features ([n, F] or [n, F, K]).
        """
        deadline_s = self._transport.deadline_s(timeout_s)
        if isinstance(rows, Mapping):
            return self._predict_one(rows, {"explain": top or True}, deadline_s)["explanation"]
        if top is not None:
            raise InvalidRequestError(
                "`top` applies to a single record; the explanation of a table contains every feature"
            )
        served, (values, base) = self._infer(rows, ("shap_values", "shap_base"), deadline_s)
        expected: Any = float(base[0]) if len(base) == 1 else base
        table = read_rows(served.schema, rows, self._leniency)
        classes = served.classes if values.ndim == 3 else None  # noqa: PLR2004
        return Explanation(values, expected, table, list(served.schema.names), served.schema, classes)

    def curve(self, row: Mapping[str, Any], features: str | Sequence[str], *, timeout_s: float | None = None) -> Curve:
        """Return what the model answers for a record while one feature, or two, takes every value; as `Model.curve`.

        `row` is a record by feature name, or `{"key": {field: value}}` with, if need be, `"overrides"`, for a stored row.
        """
        names = [features] if isinstance(features, str) else list(features)
        is_stored = "key" in row and set(row) <= {"key", "overrides"} and isinstance(row["key"], Mapping)
        body = {**(row if is_stored else {"features": row}), "vary": names}
        return read_curve(self._post("/curve", body, self._transport.deadline_s(timeout_s)))

    def by_key(
        self,
        keys: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        overrides: Mapping[str, Any] | None = None,
        explain: bool | int = False,
        timeout_s: float | None = None,
    ) -> Any:
        """Return the server's answer for stored rows: `prediction`, `features_as_of` and, with `explain`, `explanation`.

        One key gives one answer, a sequence of keys a list of answers. `overrides` replace features of the one row found
        under a single key. KeyNotFoundError names a key without a stored row.
        """
        deadline_s = self._transport.deadline_s(timeout_s)
        if isinstance(keys, Mapping):
            body: dict[str, Any] = {"key": keys}
            if overrides:
                body["overrides"] = overrides
            if explain is not False:
                body["explain"] = explain
            return self._post("/predict", body, deadline_s)
        if overrides:
            raise InvalidRequestError("`overrides` apply to a single key; call once for each key")
        answers: list[dict[str, Any]] = []
        for start in range(0, len(keys), _CHUNK_KEYS):
            chunk = [{"key": key} for key in keys[start : start + _CHUNK_KEYS]]
            body = {"instances": chunk} if explain is False else {"instances": chunk, "explain": explain}
            answers += _split(self._post("/predict/batch", body, deadline_s), len(chunk))
        if len({each["version"] for each in answers}) > 1:
            raise _version_changed(answers[0]["model"])
        return answers

    def _predict_one(self, record: Mapping[str, Any], members: Mapping[str, Any], deadline_s: float) -> dict[str, Any]:
        return self._post("/predict", {"features": encoded_infinities(record), **members}, deadline_s)

    def _post(self, path: str, body: Any, deadline_s: float) -> dict[str, Any]:
        try:
            content = msgspec.json.encode(body, enc_hook=_plain)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidRequestError(
                f"the record cannot be written as JSON ({' '.join(str(error).split())}); send names and numbers, strings or "
                "booleans"
            ) from error
        prefix = "" if self._model is None else f"/models/{self._model}"
        response = self._transport.request("POST", prefix + path, content, {}, deadline_s)
        answer: dict[str, Any] = msgspec.json.decode(response.content)
        return answer

    def _get(self, path: str, deadline_s: float) -> Any:
        return msgspec.json.decode(self._transport.request("GET", path, None, {}, deadline_s).content)

    def _known(self, deadline_s: float) -> ServedModel:
        """Return the model's description, requested from the server once, and again when its version has changed."""
        served = self._served
        if served is None:
            served = self._served = read_served_model(self._get("/models", deadline_s), self._model)
        return served

    def _infer(self, rows: Any, outputs: Sequence[str], deadline_s: float) -> tuple[ServedModel, list[Array]]:
        """Return outputs of a whole table, every chunk answered by the version whose schema the table was read with."""
        for _ in range(_ATTEMPTS_AT_ONE_VERSION):
            served = self._known(deadline_s)
            table = read_rows(served.schema, rows, self._leniency)
            try:
                return served, self._tables.infer(served, table, outputs, deadline_s)
            except ModelNotFoundError as error:
                if "version" not in error.details:
                    raise
                self._served = None
        raise _version_changed(served.name)


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
        return value.item()
    raise InvalidRequestError(
        f"a value of type {type(value).__name__} cannot be sent; send a number, string or boolean"
    )


def _no_classifier(name: str) -> InvalidRequestError:
    return InvalidRequestError(f"the model {name} is not a classifier and has no probabilities; call predict")


def _version_changed(name: str) -> VersionChangedError:
    return VersionChangedError(f"the model {name} was replaced during the call; repeat the call", model=name)
