"""What the client makes of its arguments and of answers that a sound server of ours does not give."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mlrf.client import Client, VersionChangedError
from mlrf.core.errors import (
    BatchTooLargeError,
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

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets: the second waited 40 ms for an acknowledgement

    def do_GET(self):
        self._answer(200, self.server.models)

    def do_POST(self):
        self.server.posts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.ports.append(self.client_address[1])
        self._answer(*self.server.script(self.server.posts))

    def _answer(self, status, document, headers=()):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for each in headers:
            self.send_header(*each)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    listener.posts, listener.ports, listener.script, listener.models = 0, [], lambda _n: (200, {}), MODELS
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
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


@pytest.mark.parametrize(
    "parameters",
    [{}, {"groups": 3}, {"groups": "{"}, {"groups": "{}"}, {"groups": '{"g":["y"]}'}, {"groups": '{"g":["x"]}'}],
)
def test_groups_that_do_not_match_their_values_are_an_error(server, client, parameters):
    named = [("shap_values", [2, 2]), ("shap_base", [1])]
    sizes = {name: 8 * int(np.prod(shape)) for name, shape in named}
    outputs = [
        {"name": name, "datatype": "FP64", "shape": shape, "parameters": {"binary_data_size": sizes[name]}}
        for name, shape in named
    ]
    header = json.dumps({"outputs": outputs, "parameters": parameters}).encode()
    body = header + bytes(sum(sizes.values()))
    server.script = lambda _n: (200, body, [("Inference-Header-Content-Length", str(len(header)))])
    with pytest.raises(MlrfError, match="not of mlrf"):
        client.explain(ROWS, groups=True)


def test_answers_of_two_versions_are_not_mixed(server, client):
    server.script = lambda n: (200, {"predictions": [1.0] * 100, "model": "m", "version": f"v{n}"})
    with pytest.raises(VersionChangedError, match="the model m"):
        client.by_key([{"id": i} for i in range(200)])
    assert server.posts == 2


CALLS = {
    "predict": lambda client: client.predict({"x": 1}),
    "predict_proba": lambda client: client.predict_proba({"x": 1}),
    "leaves": lambda client: client.leaves({"x": 1}),
    "explain": lambda client: client.explain({"x": 1}),
    "curve": lambda client: client.curve({"x": 1}, "x"),
    "by_key": lambda client: client.by_key([{"id": 1}]),
    "models": lambda client: client.models(),
    "table": lambda client: client.predict(ROWS),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("page", [b"<html>Welcome to nginx</html>", b"[1]", b"\xff", b""])
def test_a_page_of_another_server_is_an_error_that_quotes_it(server, client, call, page):
    server.models, server.script = page, lambda _n: (200, page)
    with pytest.raises(MlrfError, match=r"not of mlrf.*check the URL"):
        CALLS[call](client)


@pytest.mark.parametrize("call", [name for name in CALLS if name != "models"])
def test_a_document_of_another_server_is_an_error_that_quotes_it(server, client, call):
    server.models, server.script = {"models": ["m"], "default": "m"}, lambda _n: (200, {"result": 3})
    with pytest.raises(MlrfError, match=r"not of mlrf.*check the URL"):
        CALLS[call](client)


def test_damaged_gzip_is_an_error_that_names_it(server, client):
    damaged = gzip.compress(b'{"prediction":1.5}')[:-9]
    server.script = lambda _n: (200, damaged, [("Content-Encoding", "gzip")])
    with pytest.raises(MlrfError, match="gzip is damaged"):
        client.predict({"x": 1})


def test_keys_are_sent_in_batches_that_the_server_takes(server, client):
    def answer(number):
        if number == 1:
            return refusal(413, "BATCH_TOO_LARGE", max_instances=3)
        return 200, {"predictions": [float(number)] * 3, "model": "m", "version": "v"}

    server.script = answer
    assert [each["prediction"] for each in client.by_key([{"id": i} for i in range(6)])] == [2.0] * 3 + [3.0] * 3
    server.script = lambda _n: refusal(413, "BATCH_TOO_LARGE", max_instances=3)
    with pytest.raises(BatchTooLargeError):
        client.by_key([{"id": 1}])


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
def test_an_answer_that_trickles_ends_with_the_deadline(beginning):
    """The server goes on for longer than the deadline; a limit for each read would never end the call."""
    ended = threading.Event()

    def trickle(listener):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(beginning)
            for _ in range(300):
                if ended.wait(0.05):
                    return
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,), daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with Client(url, timeout_s=1.0, retries=0) as client, pytest.raises(DeadlineExceededError):
                client.predict({"x": 1})
        finally:
            ended.set()
            thread.join()


FORKED = """
import os, sys
from mlrf.client import Client

client = Client(sys.argv[1], timeout_s=60)
client.predict({"x": 1})
child = os.fork()
if child == 0:
    client.predict({"x": 1})
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.predict({"x": 1})
"""


def test_a_forked_process_has_connections_of_its_own(server):
    server.script = lambda _n: (200, {"prediction": 1.5})
    subprocess.run([sys.executable, "-c", FORKED, f"http://127.0.0.1:{server.server_port}"], check=True, timeout=300)
    parent, child, again = server.ports
    assert (again == parent, child == parent) == (True, False)


def test_interactions_and_top_cannot_be_combined(server, client):
    with pytest.raises(InvalidRequestError, match="`top` and `interactions`"):
        client.explain({"x": 1}, top=2, interactions=True)
    assert server.posts == 0
