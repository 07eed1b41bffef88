"""The calls of GRPCInferenceService by name: handlers of messages for a generation's data plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from google.protobuf import json_format

from mlrf.core.errors import ModelNotFoundError, NotReadyError
from mlrf.serving.oip.data_plane import DataPlane
from mlrf.serving.oip.grpc.message_codec import read_request, read_response, write_response
from mlrf.serving.oip.grpc.message_types import message, parsed_short
from mlrf.serving.oip.json_messages import request_json, response_json
from mlrf.serving.oip.messages import InferRequest
from mlrf.serving.runtime.results import Awaited, Continued, Deferred, Handler, Result
from mlrf.serving.runtime.stages import DECODE, recording
from mlrf.serving.runtime.thresholds import TENSOR_BYTES

_YES = b"\x08\x01"
"""A message whose first field is a true boolean; one whose first field is false is empty."""
_NO = b""


@dataclass(frozen=True, slots=True)
class CallHandlers:
    """The handlers of one call; `unexplained` serves callers whose key does not permit explanations."""

    handler: Handler
    unexplained: Handler


def simple(handler: Handler) -> CallHandlers:
    """Return the handlers of a call that never returns explanations."""
    return CallHandlers(handler, handler)


def calls_of(plane: DataPlane) -> dict[str, CallHandlers]:
    """Return the unary calls of a data plane."""

    def described(name: str, describe: Callable[[Any], Mapping[str, Any]]) -> CallHandlers:
        """Return a call that answers with a document, whose members are the fields of its message."""
        request, response = message(f"{name}Request"), message(f"{name}Response")

        def handle(body: bytes) -> bytes:
            document = describe(parsed_short(request, body))
            written: bytes = json_format.ParseDict(document, response(), ignore_unknown_fields=True).SerializeToString()
            return written

        return simple(handle)

    return {
        "ServerLive": simple(lambda _body: _YES),
        "ServerReady": simple(lambda _body: _ready(plane.check_ready)),
        "ModelReady": simple(_model_ready(plane)),
        "ServerMetadata": described("ServerMetadata", lambda _request: plane.server_metadata()),
        "ModelMetadata": described(
            "ModelMetadata", lambda request: _typed_parameters(plane.model_metadata(request.name, request.version))
        ),
        "ModelInfer": CallHandlers(_Infer(plane, may_explain=True), _Infer(plane, may_explain=False)),
        "ModelConfig": described(
            "ModelConfig", lambda request: {"config": plane.model_config(request.name, request.version)}
        ),
        "ModelStatistics": described(
            "ModelStatistics", lambda request: plane.statistics(request.name, request.version)
        ),
        "RepositoryIndex": described("RepositoryIndex", lambda request: {"models": plane.index(ready=request.ready)}),
        "RepositoryModelLoad": simple(_of_repository("RepositoryModelLoad", plane.load)),
        "RepositoryModelUnload": simple(_of_repository("RepositoryModelUnload", plane.unload)),
    }


def _typed_parameters(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's metadata with the parameters of the model and of its outputs as InferParameters."""

    def typed(document: Mapping[str, Any]) -> dict[str, Any]:
        texts = document.get("parameters", {})
        return {**document, "parameters": {name: {"string_param": text} for name, text in texts.items()}}

    return {**typed(metadata), "outputs": [typed(each) for each in metadata["outputs"]]}


def _ready(check: Callable[[], None]) -> bytes:
    try:
        check()
    except (NotReadyError, ModelNotFoundError):
        # Triton answers the same for an unknown model.
        return _NO
    return _YES


def _model_ready(plane: DataPlane) -> Handler:
    kind = message("ModelReadyRequest")

    def handle(body: bytes) -> bytes:
        request = parsed_short(kind, body)
        return _ready(lambda: plane.check_model_ready(request.name, request.version))

    return handle


class _Infer:
    """Answers ModelInfer, and the messages of ModelStreamInfer."""

    def __init__(self, plane: DataPlane, *, may_explain: bool) -> None:
        self._plane = plane
        self._may_explain = may_explain

    def __call__(self, body: bytes) -> Result:
        """Answer a message."""
        recorder = recording()
        if recorder is not None:
            recorder.enter(DECODE)
        if len(body) > TENSOR_BYTES:
            return self._read_in_thread(body)
        return self._answer(read_request(body, perf_counter(), self._plane.limits))

    def as_json(self, body: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """Return both messages as the protocol's JSON."""
        return request_json(read_request(body)), response_json(read_response(answer))

    def _read_in_thread(self, body: bytes) -> Continued:
        began_s = perf_counter()
        read = []

        def run() -> bytes:
            recorder = recording()
            if recorder is not None:
                recorder.enter(DECODE)
            read.append(read_request(body, began_s, self._plane.limits))
            return b""

        return Continued(Deferred(run), lambda _: self._answer(read.pop()))

    def _answer(self, request: InferRequest) -> Result:
        return self._plane.infer(request, write_response, may_explain=self._may_explain)


def _of_repository(name: str, act: Callable[[str, Mapping[str, Any]], Awaited]) -> Handler:
    request, response = message(f"{name}Request"), message(f"{name}Response")
    done = response.DESCRIPTOR.fields_by_number[2].name

    def handle(body: bytes) -> Result:
        parsed = parsed_short(request, body)
        model = parsed.model_name or parsed.repository_or_model_name
        acting = act(model, {key: _value(each) for key, each in parsed.parameters.items()})

        async def finish() -> bytes:
            await acting.run()
            written: bytes = response(model_name=model, **{done: True}).SerializeToString()
            return written

        return Awaited(finish)

    return handle


def _value(parameter: Any) -> Any:
    choice = parameter.WhichOneof("parameter_choice")
    return None if choice is None else getattr(parameter, choice)
