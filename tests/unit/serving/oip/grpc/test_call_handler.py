"""CallHandler over HTTP/2: the limits in a call's headers are enforced before a handler is called."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from urllib.parse import quote

import pytest

from grpc_calls import INFER, calls_answered_by
from mlrf.core.errors import MalformedRequestError
from mlrf.serving.http import inflate
from mlrf.serving.oip.grpc import compression
from mlrf.serving.oip.grpc.call_status import CODES
from mlrf.serving.runtime.results import Deferred


def test_an_answer_is_the_handlers_bytes():
    with calls_answered_by(lambda body: body[::-1]) as calls:
        assert calls.ask(INFER, b"abc") == b"cba"
        assert calls.ask(INFER, b"") == b""
        assert calls.meter.statuses == [200, 200]


@pytest.mark.parametrize(("timeout", "is_called"), [("1n", False), ("60S", True), (None, True)])
def test_no_call_begins_when_its_deadline_is_over(timeout, is_called):
    bodies = []

    def handler(body):
        bodies.append(body)
        return b"made"

    with calls_answered_by(handler) as calls:
        status = calls.status(INFER, b"", {} if timeout is None else {"grpc-timeout": timeout})
        assert bool(bodies) == is_called
        assert status.code == (CODES["OK"] if is_called else CODES["DEADLINE_EXCEEDED"])
        assert calls.meter.statuses == [200 if is_called else 504]


@pytest.mark.parametrize("timeout", ["", "1", "S", "123456789S", "1.5S", "-1S", "1s"])
def test_a_timeout_that_is_none_is_refused(timeout):
    with calls_answered_by(lambda body: body) as calls:
        assert calls.status(INFER, b"", {"grpc-timeout": timeout}).code == CODES["INVALID_ARGUMENT"]


def test_work_whose_turn_comes_too_late_is_not_begun():
    begun, gate = [], threading.Event()

    def slow():
        gate.wait(300)
        return b"made"

    def late():
        begun.append(True)
        return b"made"

    work = iter([slow, late])
    with calls_answered_by(lambda _body: Deferred(next(work))) as calls:
        first = calls.send(INFER, b"")
        second = calls.status(INFER, b"", {"grpc-timeout": "50m"})
        gate.set()
        assert second.code == CODES["DEADLINE_EXCEEDED"]
        assert calls.end_of(first).code == CODES["OK"]
        assert begun == []
        assert sorted(calls.meter.statuses) == [200, 504]


def test_work_of_a_call_that_its_client_resets_is_not_begun():
    begun, gate = [], threading.Event()

    def slow():
        gate.wait(300)
        return b"made"

    work = iter([slow, lambda: begun.append(True) or b"made"])
    with calls_answered_by(lambda _body: Deferred(next(work))) as calls:
        first = calls.send(INFER, b"")
        calls.reset(calls.send(INFER, b""))
        # The reset has been read once a later call is answered.
        assert calls.status("/none", b"").code == CODES["UNIMPLEMENTED"]
        gate.set()
        assert calls.end_of(first).code == CODES["OK"]
        time.sleep(0.1)
        assert begun == []


def test_long_message_is_truncated_to_the_header_limit():
    def handler(body):
        raise MalformedRequestError("x" + "ü" * 3000)

    with calls_answered_by(handler) as calls:
        details = calls.status(INFER, b"").details
    assert details == "x" + "ü" * 999
    # Each byte of a letter beyond ASCII takes three in the header, of which clients take 8 KB in all.
    assert len(quote(details)) < 6500


def test_unexpected_faults_reveal_no_details():
    def handler(_body):
        raise ZeroDivisionError("secret")

    with calls_answered_by(handler) as calls:
        status = calls.status(INFER, b"")
        assert status.code == CODES["INTERNAL"]
        assert status.details.startswith("internal error; request ")
        assert "secret" not in status.details


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, "415"),
        ({"content-type": "application/grpcx"}, "415"),
        ({":method": "GET"}, "405"),
    ],
)
def test_what_is_no_call_gets_a_status_of_http(headers, status):
    with calls_answered_by(lambda body: body) as calls:
        assert calls.status(INFER, b"", headers).http == status


@pytest.mark.parametrize("sent", [b"\x02\0\0\0\0", b"\0\0\0\x03\xe9", b"\0\xff\xff\xff\xff"])
def test_a_frame_that_is_no_message_is_refused_at_its_head(sent):
    with calls_answered_by(lambda body: body) as calls:
        assert calls.status(INFER, sent, raw=True).code in (CODES["INVALID_ARGUMENT"], CODES["RESOURCE_EXHAUSTED"])


def test_an_unknown_call_is_named():
    with calls_answered_by(lambda body: body) as calls:
        status = calls.status("/a.B/C", b"")
        assert (status.code, status.details) == (CODES["UNIMPLEMENTED"], "this server has no call /a.B/C")


def test_too_much_metadata_is_refused_and_the_connection_stays():
    with calls_answered_by(lambda body: body) as calls:
        assert calls.status(INFER, b"", {"x-long": "a" * 16_300}).code == CODES["RESOURCE_EXHAUSTED"]
        assert calls.ask(INFER, b"abc") == b"abc"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("n_bytes", [0, 1, 100_000])
def test_a_compressed_message_is_inflated(coding, n_bytes):
    plain = bytes(n_bytes)
    body = gzip.compress(plain) if coding == "gzip" else zlib.compress(plain)
    with calls_answered_by(lambda body: str(len(body)).encode(), max_bytes=1 << 20) as calls:

        def end(body, encoding):
            sent = b"\1" + len(body).to_bytes(4, "big") + body
            return calls.status(INFER, sent, {"grpc-encoding": encoding}, raw=True)

        assert end(body, coding).message == str(n_bytes).encode()
        assert end(body, "br").code == CODES["INVALID_ARGUMENT"]
        assert end(body[:-1], coding).code == CODES["INVALID_ARGUMENT"]
        assert end(body + b"x", coding).code == CODES["INVALID_ARGUMENT"]


def test_a_long_message_is_inflated_in_the_thread_to_the_limit(monkeypatch):
    threads = []

    def inflate_whole(*arguments):
        threads.append(threading.current_thread().name)
        return inflate.inflate_whole(*arguments)

    monkeypatch.setattr(compression, "inflate_whole", inflate_whole)
    with calls_answered_by(lambda body: str(len(body)).encode(), max_bytes=1 << 20) as calls:
        for n_bytes, code in ((1 << 20, "OK"), ((1 << 20) + 1, "RESOURCE_EXHAUSTED")):
            body = gzip.compress(bytes(n_bytes))
            # A unary call has one message: those after it are not inflated.
            sent = (b"\1" + len(body).to_bytes(4, "big") + body) * 3
            assert calls.status(INFER, sent, {"grpc-encoding": "gzip"}, raw=True).code == CODES[code]
    assert len(threads) == 2
    assert all(name.startswith("mlrf-deferred") for name in threads)
