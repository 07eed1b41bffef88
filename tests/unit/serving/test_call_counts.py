"""The number of Python calls of one request on the hot path, from received to written bytes."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import sys

import pytest
import uvloop

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.serving.cache.settings import CacheSettings
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http.server import HttpServer
from mlrf.serving.http.tls_connection import new_connection
from mlrf.serving.models.service import Service
from mlrf.serving.request_limits import RequestLimits
from mlrf.serving.routes import layout
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.worker_meter import WorkerMeter

INFER = "/v2/models/sample/infer"


class Exposition:
    def set_bundles(self, bundles):
        pass

    def set_refused(self, *_refused):
        pass

    def total(self, *_names):
        return 0

    def answer(self, _body):
        return b""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with a cache of this size, or none."""
    path = write_tree_bundle(tmp_path_factory.mktemp("counted") / "b", schema=NUMBERS)

    def serve(cache):
        counts = layout(["sample"])
        meter = WorkerMeter(counts, memoryview(bytearray(8 * counts.n_words)).cast("Q"))
        options = ServeSettings((path,), caching=CacheSettings(cache))
        service = Service([read_bundle(path)], options, meter, Exposition())
        return HttpServer(service.generation.router(), RequestLimits(), meter, ErrorEncoder(Log("error")), lambda: None)

    return serve


def request(path, first):
    body = {"features": [first, 2.0, 3.0]}
    if path == INFER:
        tensor = {"name": "features", "shape": [1, 3], "datatype": "FP64", "data": body["features"]}
        body = {"id": str(first), "inputs": [tensor]}
    content = json.dumps(body).encode()
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(content), content)


async def calls_of(server, path):
    """The functions called for one fresh row, once the head is cached."""
    near, far = socket.socketpair()
    connection = new_connection(server)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, near)
    server.due_s = math.inf  # no sign of life between answers, which comes by the clock
    calls = []

    def note(frame, event, _argument):
        if event == "call":
            calls.append(frame.f_code.co_qualname)

    for row in (1.5, 2.5, 3.5):
        calls.clear()
        message = request(path, row)
        sys.setprofile(note)
        connection.data_received(message)
        sys.setprofile(None)
        assert far.recv(4096).startswith(b"HTTP/1.1 200 ")
    transport.abort()
    far.close()
    return calls


@pytest.mark.parametrize(("path", "cache", "most"), [("/predict", "64MiB", 18), (INFER, "64MiB", 24), (INFER, "0", 15)])
def test_a_fresh_row_takes_no_more_calls_than_it_should(served, path, cache, most):
    calls = uvloop.run(calls_of(served(cache), path))
    assert len(calls) <= most, calls
