"""CallHandler over gRPC: the limits in a call's context are enforced before a handler is called."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import quote

import grpc
import pytest

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.oip.grpc.call_handler import CallHandler
from mlrf.serving.oip.grpc.inference_calls import simple
from mlrf.serving.oip.grpc.unfinished_messages import UnfinishedMessages
from mlrf.serving.oip.grpc.unsent_answers import UnsentAnswers
from mlrf.serving.routes import layout
from mlrf.serving.runtime.request_runtime import RequestRuntime
from mlrf.serving.runtime.results import Deferred
from mlrf.serving.telemetry.logs import Log

PATH = "/inference.GRPCInferenceService/ModelInfer"


class Meter:
    def __init__(self):
        self.statuses = []

    def count_request(self, _route, status, _elapsed_s):
        self.statuses.append(status)


class AbortedError(Exception):
    pass


class Context:
    """What grpcio gives with a call."""

    def __init__(self, left_s=None):
        self._left_s = left_s
        self.code = None
        self.details = ""

    def time_remaining(self):
        return self._left_s

    def invocation_metadata(self):
        return ()

    def peer(self):
        return "ipv4:127.0.0.1:1"

    def add_done_callback(self, call):
        pass

    async def read(self):
        return b""

    async def abort(self, code, details, _metadata):
        self.code, self.details = code, details
        raise AbortedError


def answered(handler, *contexts):
    """Run a handler in all contexts at once; return the meter."""

    async def run():
        meter, errors = Meter(), ErrorEncoder(Log("error"))
        runtime = RequestRuntime(meter, lambda: None, 0.5)
        messages = UnfinishedMessages(runtime.admission, 1000, 1.0, 1.0, lambda _peer, _n: None)
        unsent = UnsentAnswers(1.0, lambda _peers: None)
        handler_under_test = CallHandler(runtime, errors, None, messages, unsent, 1.0, layout(grpc=True))
        handler_under_test.answer_by({PATH: simple(handler)})
        answer = handler_under_test.unary(PATH)
        await asyncio.gather(*(answer(None, each) for each in contexts), return_exceptions=True)
        runtime.work.stop()
        return meter

    return asyncio.run(run())


@pytest.mark.parametrize(("left_s", "is_called"), [(-0.001, False), (60.0, True), (None, True)])
def test_no_call_begins_when_its_deadline_is_over(left_s, is_called):
    bodies = []

    def handler(body):
        bodies.append(body)
        return b"made"

    context = Context(left_s)
    meter = answered(handler, context)
    assert bool(bodies) == is_called
    assert context.code == (None if is_called else grpc.StatusCode.DEADLINE_EXCEEDED)
    assert meter.statuses == [200 if is_called else 504]


def test_work_whose_turn_comes_too_late_is_not_begun():
    begun, gate = [], threading.Event()

    def slow():
        gate.wait(0.2)
        return b"made"

    def late():
        begun.append(True)
        return b"made"

    work = iter([slow, late])
    waiting, late_one = Context(), Context(0.05)
    meter = answered(lambda _body: Deferred(next(work)), waiting, late_one)
    assert begun == []
    assert late_one.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert sorted(meter.statuses) == [200, 504]


def test_long_message_is_truncated_to_the_header_limit():
    def handler(body):
        raise MalformedRequestError("x" + "ü" * 3000)

    context = Context()
    answered(handler, context)
    assert context.details == "x" + "ü" * 999
    # Each byte of a letter beyond ASCII takes three in the header, of which clients take 8 KB in all.
    assert len(quote(context.details)) < 6500


def test_unexpected_faults_reveal_no_details():
    def handler(_body):
        raise ZeroDivisionError("secret")

    context = Context()
    answered(handler, context)
    assert context.code == grpc.StatusCode.INTERNAL
    assert context.details.startswith("internal error; request ")
    assert "secret" not in context.details
