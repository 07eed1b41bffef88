"""A sampled request: its data for logs, stage metrics and traces."""

from __future__ import annotations

from collections.abc import Callable

from mlrf.serving.runtime.observer import ObservableCall
from mlrf.serving.runtime.results import Handler, Result, recorded
from mlrf.serving.runtime.stages import Recorder, Stage

Finish = Callable[["SampledRequest", int, bytes, float], bytes]
"""Takes a request and the status, content and duration in seconds of its response; returns header lines for the response."""


class SampledRequest:
    """A sampled request, and for which of logs, metrics and traces it was sampled."""

    __slots__ = (
        "_finish",
        "body",
        "call",
        "client",
        "for_access",
        "for_prediction",
        "for_stages",
        "for_trace",
        "label",
        "recorder",
        "request_id",
        "stages",
    )

    def __init__(
        self, call: ObservableCall, label: str, request_id: bytes, body: bytes, client: str, finish: Finish
    ) -> None:
        self.call = call
        self.label = label
        """The label of its route."""
        self.request_id = request_id
        self.body = body
        self.client = client
        self._finish = finish
        self.for_access = self.for_prediction = self.for_stages = self.for_trace = False
        self.recorder: Recorder | None = None
        self.stages: list[Stage] = []
        """The stages of an answered request, if they are recorded."""

    @property
    def handler(self) -> Handler:
        """The handler of the request."""
        return self._answer_recorded if self.for_stages or self.for_trace else self.call.handler

    def end(self, status: int, content: bytes, elapsed_s: float) -> bytes:
        """Record the response, and return header lines for it."""
        return self._finish(self, status, content, elapsed_s)

    def _answer_recorded(self, body: bytes) -> Result:
        self.recorder = Recorder()
        return recorded(self.recorder, self.call.handler, body)
