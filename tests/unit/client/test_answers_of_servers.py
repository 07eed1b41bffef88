"""What the client makes of its arguments and of answers that a sound server of ours does not give."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from mlrf.client import Client, VersionChangedError
from mlrf.core.errors import (
    BodyTooLargeError,
    DeadlineExceededError,
    InvalidRequestError,
    MlrfError,
    ModelNotFoundError,
)

FEATURES = [{"name": "x", "kind": "numeric", "nullable": True}]
MODELS = {"default": "m", "models": [{"name": "m", "digest": "ab" * 32, "features": FEATURES, "classes": None}]}
ROWS = np.array([[1.0], [2.0]])


class Scripted(BaseHTTPRequestHandler):
    """Answers a POST as the test says."""

    def do_GET(self):
        self._answer(200, MODELS)

    def do_POST(self):
        self.server.posts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(*self.server.script(self.server.posts))

    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    listener = HTTPServer(("127.0.0.1", 0), Scripted)
    listener.posts, listener.script = 0, lambda _n: (200, {})
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    yield listener
    listener.shutdown()
    listener.server_close()


@pytest.fixture
def client(server):
    with Client(f"http://127.0.0.1:{server.server_port}", timeout_s=60) as client:
        yield client


def refusal(status, code, **details):
    return status, {"error": "no", "code": code, "details": details, "request_id": "r"}


def test_conflicting_arguments_are_refused_before_sending(server, client):
    with pytest.raises(InvalidRequestError, match="top"):
        client.explain(ROWS, top=3)
    with pytest.raises(InvalidRequestError, match="overrides"):
        client.by_key([{"id": 1}], overrides={"x": 2})
    with pytest.raises(InvalidRequestError, match="no rows"):
        client.predict(ROWS[:0])
    with pytest.raises(DeadlineExceededError):
        client.predict({"x": 1}, timeout_s=0.0)
    assert server.posts == 0


def test_an_error_that_no_retry_resolves_is_raised_at_once(server, client):
    server.script = lambda _n: refusal(422, "INVALID_REQUEST")
    with pytest.raises(InvalidRequestError):
        client.predict({"x": 1})
    assert server.posts == 1


def test_a_model_that_is_gone_is_not_asked_for_again(server, client):
    server.script = lambda _n: refusal(404, "MODEL_NOT_FOUND", model="m")
    with pytest.raises(ModelNotFoundError):
        client.predict(ROWS)
    assert server.posts == 1


def test_single_row_that_is_too_large_is_an_error(server, client):
    server.script = lambda _n: refusal(413, "BODY_TOO_LARGE", max_bytes=10)
    with pytest.raises(BodyTooLargeError):
        client.predict(ROWS[:1])
    assert server.posts == 1


def test_a_response_without_its_binary_part_is_an_error(server, client):
    server.script = lambda _n: (200, {"outputs": []})
    with pytest.raises(MlrfError, match="no binary tensors"):
        client.predict(ROWS)


def test_answers_of_two_versions_are_not_mixed(server, client):
    server.script = lambda n: (200, {"predictions": [1.0] * 100, "model": "m", "version": f"v{n}"})
    with pytest.raises(VersionChangedError, match="the model m"):
        client.by_key([{"id": i} for i in range(200)])
    assert server.posts == 2
