"""Answers logged requests again with the handlers of the server, in this process and without its ports, cache or stores.

A prediction by key is answered from the features that the log kept.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import msgspec

import mlrf
from mlrf.core import json_infinities
from mlrf.core.bundle import Bundle
from mlrf.core.errors import InvalidRequestError
from mlrf.core.json_infinities import encoded_infinities
from mlrf.core.leniency import Leniency, UnknownCategories
from mlrf.model.logged_predictions import LoggedPrediction
from mlrf.model.table_input import read_rows
from mlrf.serving import route_paths as paths
from mlrf.serving.cache.settings import CacheSettings
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.service import Service
from mlrf.serving.routes import layout
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.runtime.results import Awaited, Continued, Deferred, Result
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.worker_meter import WorkerMeter

_MANY = 1 << 30
_BY_KEY = ("key", "overrides", "max_feature_age", "stale_features")
_NATIVE = (paths.PREDICT, paths.PREDICT_BATCH, paths.EXPLAIN)
_GRPC = "/inference.GRPCInferenceService/"

Members = dict[str, msgspec.Raw]
_members = msgspec.json.Decoder(Members).decode


class ReplayedModel:
    """A bundle behind the handlers of a server that accepts whatever an earlier server may have accepted."""

    def __init__(self, bundle: Bundle, unknown_categories: UnknownCategories = "refuse") -> None:
        # Rows by key come from the log: a store is neither opened nor made.
        bundle = msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, rows=None))
        self.bundle = bundle
        self._unknown_categories = unknown_categories
        settings = ServeSettings(
            (Path(bundle.path),),
            max_batch=_MANY,
            max_infer_rows=_MANY,
            unknown_features="ignore",
            unknown_categories=unknown_categories,
            caching=CacheSettings(cache="0"),
        )
        counts = layout([bundle.name])
        block = ControlBlock(1, counts.n_words)
        meter = WorkerMeter(counts, block.row(0))
        self._service = Service([bundle], settings, meter, Exposition(counts, block, (), mlrf.__version__))

    def answer(self, record: LoggedPrediction) -> bytes:
        """Return the answer to a logged request; MlrfError if it is refused now."""
        if record.has_features and _is_of_tensors(record.route):
            return self.ask(record.route, _in_json(self._tensors(record)))
        body = by_features(record)
        if record.route not in (*_NATIVE, paths.CURVE) and not _is_of_tensors(record.route):
            return self._in_form_of(bytes(record.answer), self.ask(paths.PREDICT_BATCH, body))
        return self.ask(record.route, _in_json(body) if _is_of_tensors(record.route) else body)

    def ask(self, label: str, body: bytes) -> bytes:
        """Return the answer of the route with a label, which is one of `_NATIVE`, a curve's or one of tensors."""
        template = paths.V2_INFER if _is_of_tensors(label) else label
        if not template.startswith(paths.V2):
            template = paths.MODEL + template
        route = self._service.routes[paths.fill(template, name=self.bundle.name)]
        return _settled(route.handlers[b"POST"](body))

    def _tensors(self, record: LoggedPrediction) -> bytes:
        """Return a request of the inference protocol with the features that the log kept in place of keys."""
        schema = self.bundle.schema
        instances = json_infinities.decode(record.features)
        values = read_rows(schema, instances, Leniency("ignore", self._unknown_categories))
        data = {str(at): None if math.isnan(each) else each for at, each in enumerate(values.ravel().tolist())}
        flat = list(encoded_infinities(data).values())
        tensor = {"name": "features", "datatype": "FP64", "shape": list(values.shape), "data": flat}
        return msgspec.json.encode(_members_of(bytes(record.request)) | {"inputs": [tensor]})

    def _in_form_of(self, logged: bytes, native: bytes) -> bytes:
        """Return an answer of another server's route, of which the log has the native request.

        Its predictions are values, labels or probabilities, as that server answers for the model.
        """
        before, found = msgspec.json.decode(logged), msgspec.json.decode(native)
        if not isinstance(before, dict) or any(isinstance(each, dict) for each in before.get("predictions", [{}])):
            raise InvalidRequestError(
                "an answer in this form cannot be compared; those of /v1 and of MLflow's lists can"
            )
        chosen = found["predictions"]
        for member in ("labels", "probabilities"):
            if found.get(member) == before.get("predictions"):
                chosen = found[member]
        return msgspec.json.encode({**before, "predictions": chosen})

    def explain(self, instance: Members) -> dict[str, Any]:
        """Return features and explanation of a row; MlrfError if the model cannot explain."""
        chosen = {name: raw for name, raw in instance.items() if name in ("features", "unknown_categories")}
        body = {**chosen, "return_features": msgspec.Raw(b"true")}
        found: dict[str, Any] = msgspec.json.decode(self.ask(paths.EXPLAIN, msgspec.json.encode(body)))
        return found


def by_features(record: LoggedPrediction) -> bytes:
    """Return a request with the features that the log kept in place of keys; InvalidRequestError if it kept none."""
    if not record.has_features:
        body = bytes(record.request)
        if record.route in (paths.PREDICT, paths.EXPLAIN) and "key" in _members_of(body):
            raise InvalidRequestError("a prediction by key whose stored features the log does not have")
        return body
    members = _members_of(bytes(record.request))
    if record.route == paths.PREDICT_BATCH:
        rows = msgspec.json.decode(record.features, type=list[msgspec.Raw])
        instances = msgspec.json.decode(members["instances"], type=list[msgspec.Raw])
        members["instances"] = msgspec.Raw(
            msgspec.json.encode(
                [
                    each if bytes(row) == b"null" else _keyless(_members_of(bytes(each)), row)
                    for each, row in zip(instances, rows, strict=True)
                ]
            )
        )
        return msgspec.json.encode({name: raw for name, raw in members.items() if name not in _BY_KEY})
    return msgspec.json.encode(_keyless(members, record.features))


def instances_of(record: LoggedPrediction) -> list[Members]:
    """Return the instances of a native request, each with its features; none if it has another form."""
    body = by_features(record)
    try:
        members = _members_of(body)
        if record.route in (paths.PREDICT, paths.EXPLAIN):
            return [members if "features" in members else {"features": msgspec.Raw(body)}]
        found = msgspec.json.decode(members["instances"], type=list[msgspec.Raw])
        options = {name: raw for name, raw in members.items() if name == "unknown_categories"}
        return [
            options | each if "features" in (each := _members_of(bytes(raw))) else {"features": raw} for raw in found
        ]
    except (InvalidRequestError, msgspec.MsgspecError, KeyError):
        return []


def _is_of_tensors(label: str) -> bool:
    return label.startswith((_GRPC, paths.V2))


def _in_json(body: bytes) -> bytes:
    """Return a request of the inference protocol whose answer is JSON, as the log has it, and not binary."""
    document = msgspec.json.decode(body)
    for each in (document, *document.get("outputs", ())):
        if isinstance(each.get("parameters"), dict):
            each["parameters"] = {
                name: value for name, value in each["parameters"].items() if not name.startswith("binary_data")
            }
    return msgspec.json.encode(document)


def _keyless(members: Members, features: msgspec.Raw) -> Members:
    return {"features": features, **{name: raw for name, raw in members.items() if name not in _BY_KEY}}


def _members_of(body: bytes) -> Members:
    try:
        return _members(body)
    except msgspec.MsgspecError as error:
        raise InvalidRequestError(f"the logged request is no JSON object: {error}") from error


def _settled(made: Result) -> bytes:
    """Return the bytes of a handler's result, computing here what a server computes in its thread."""
    while not isinstance(made, bytes):
        if isinstance(made, Continued):
            made = made.then(_settled(made.work))
        elif isinstance(made, Deferred):
            made = made.run()
        elif isinstance(made, Awaited):
            made = asyncio.run(made.run())
    return made
