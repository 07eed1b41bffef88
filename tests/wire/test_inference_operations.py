"""The protocol in operation: deadlines, overload, changed keys and certificates, and reloads during calls."""

from __future__ import annotations

import contextlib
import json
import signal
import struct
import threading
import time
from queue import Queue

import grpc
import pytest

from bundles import write_tree_bundle
from certificates import TlsClient, make_certificate, trusting
from grpc_peer import INFERENCE, LIMIT_S, Peer, address_of
from inference_wires import GrpcWire, ParsedRequest, RestWire, Tensor
from mlrf.core.bundle import read_bundle
from mlrf.core.feature import Feature
from mlrf.core.publishing import publish
from mlrf.core.schema import Schema
from mlrf.model import load
from mlrf.serving.auth.keys import make_key, write_keys
from mlrf.serving.oip.grpc.message_types import message
from raw_http import Client, request
from running import eventually, serving

SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
ROW = [0.25] * 30
N_LONG = 20_000
INFER = "/v2/models/sample/infer"
LIVE = ("/v2/health/live", "/v2/health/ready", "/healthz", "/metrics")


def rows(n, x=0.25):
    return [Tensor("features", "FP64", [x] + ROW[1:] + ROW * (n - 1), [n, 30])]


def infer_body(n, x=0.25, outputs=()):
    return GrpcWire(None, raw=True).message(ParsedRequest(rows(n, x), outputs=outputs))[0]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("operated") / "b", schema=SCHEMA, n_trees=400, max_leaves=64)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Two versions of one model."""
    folder = tmp_path_factory.mktemp("light")
    return [write_tree_bundle(folder / str(seed), schema=SCHEMA, seed=seed) for seed in (7, 8)]


# Pages of other origins

PREFLIGHT = [
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: authorization, inference-header-content-length",
]


def test_allowed_origin_may_read_binary_length_header(light):
    mine, other = "Origin: https://a.example", "Origin: https://b.example"
    with serving(light[0], options=["--cors-origin", "https://a.example"]) as server:
        leave = server.ask("OPTIONS", INFER, headers=[mine, *PREFLIGHT])
        assert (leave.status, leave.headers["access-control-allow-origin"]) == (200, "https://a.example")
        assert "Inference-Header-Content-Length" in leave.headers["access-control-allow-headers"]
        wire = RestWire(server, binary=True)
        body, length = wire.message(ParsedRequest(rows(2)))
        lines = [f"Inference-Header-Content-Length: {length}"]
        for origin, seen in ((mine, "https://a.example"), (other, None)):
            for path, status in ((INFER, 200), ("/v2/models/nobody/infer", 404)):
                answer = server.ask("POST", path, body, [*lines, origin])
                assert (answer.status, answer.headers.get("access-control-allow-origin")) == (status, seen)
                exposed = answer.headers.get("access-control-expose-headers", "")
                assert ("Inference-Header-Content-Length" in exposed) is (seen is not None)
        assert server.ask("OPTIONS", INFER, headers=[other, *PREFLIGHT]).status == 405


# Deadlines and overload


@pytest.fixture(scope="module")
def loaded(path):
    """A server whose thread can be kept busy; each work is done as often as it is asked for."""
    options = ["--grpc-port", "0", "--cache", "0", "--max-infer-rows", str(N_LONG), "--max-wait", "0.5"]
    with (
        serving(path, options=options) as server,
        Peer(address_of(server)) as peer,
    ):
        yield server, peer
        eventually(server.is_ready)
        assert server.troubles == []


@contextlib.contextmanager
def busy_thread(server):
    """A second or so in which the worker's thread is at work for another client."""
    body, length = RestWire(server, binary=True).message(ParsedRequest(rows(N_LONG), outputs=["shap_base"]))
    with server.client() as client:
        client.socket.settimeout(60)
        client.send(request("POST", INFER, body, [f"Inference-Header-Content-Length: {length}"]))
        time.sleep(0.2)
        yield
        assert client.answer().status == 200


def inferred(server):
    return server.ask("GET", "/v2/models/sample/stats").json["model_stats"][0]["inference_count"]


@pytest.mark.timing
def test_what_waits_longer_than_its_caller_does_is_never_begun(loaded):
    server, peer = loaded
    before = inferred(server)
    parsed = ParsedRequest(rows(2000), outputs=["shap_values"])
    with busy_thread(server):
        late = peer.ask("ModelInfer", infer_body(2000, outputs=["shap_values"]), timeout=0.05)
        assert late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        for health in LIVE:
            assert server.ask("GET", health).status == 200
        assert peer.code("ServerLive") == grpc.StatusCode.OK
        # Over HTTP it is refused when its turn would come.
        response = RestWire(server, binary=True).infer(parsed, headers=["X-Request-Timeout-Ms: 30"])
        assert (response.status, response.code) == (504, "DEADLINE_EXCEEDED")
    # Begun were the rows that kept the thread busy, and those of who waits long enough.
    over_http = RestWire(server, binary=True).infer(parsed, headers=["X-Request-Timeout-Ms: 9000"])
    over_grpc = GrpcWire(peer, raw=True).infer(parsed)
    assert over_http.error == ""
    assert over_http.outputs == over_grpc.outputs
    assert inferred(server) - before == N_LONG + 2 * 2000


def test_what_is_wrong_far_inside_a_long_request_is_named_by_row(loaded):
    server, peer = loaded
    (tensor,) = rows(5000)
    values = [*tensor.values]
    values[4321 * 30 + 17] = float("inf")
    for wire in (RestWire(server, binary=True), GrpcWire(peer, raw=True), GrpcWire(peer, raw=False)):
        response = wire.infer(ParsedRequest([Tensor("features", "FP64", values, tensor.shape)]))
        assert response.code == "INVALID_FEATURE"
        assert all(word in response.error for word in ("row 4321", "x17", "range of float64"))
        response = wire.infer(ParsedRequest([Tensor("features", "FP64", values[:-1], tensor.shape)]))
        assert response.code == "INVALID_TENSOR"


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "1s"])
def test_invalid_deadline_is_refused(loaded, value):
    response = RestWire(loaded[0], binary=True).infer(
        ParsedRequest(rows(1)), headers=[f"X-Request-Timeout-Ms: {value}"]
    )
    assert (response.status, response.code) == (400, "MALFORMED_REQUEST")
    assert "X-Request-Timeout-Ms" in response.error


@pytest.mark.timing
def test_full_thread_refuses_with_retry_after_but_not_health(loaded):
    server, peer = loaded
    infer = peer.channel.unary_unary(INFERENCE + "ModelInfer")
    bodies = [infer_body(100, number / 8, outputs=["shap_values"]) for number in range(200)]
    body, length = RestWire(server, binary=True).message(ParsedRequest(rows(100), outputs=["shap_values"]))
    with contextlib.ExitStack() as opened:
        opened.enter_context(busy_thread(server))
        # Those with a deadline of their own may wait for as long as that, the others for --max-wait.
        patient = [infer.future(each, timeout=60) for each in bodies[::2]]
        calls = [infer.future(each) for each in bodies[1::2]]
        eventually(lambda: [each for each in calls if each.done()], what="a refusal")
        answer = server.ask("POST", INFER, body, [f"Inference-Header-Content-Length: {length}"])
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "OVERLOADED", "1")
        for health in LIVE:
            assert server.ask("GET", health).status == 200
        for call in ("ServerLive", "ServerReady", "/grpc.health.v1.Health/Check"):
            assert peer.code(call) == grpc.StatusCode.OK
    refused = [each for each in calls if each.code() != grpc.StatusCode.OK]
    assert len(refused) > 0
    assert {each.code() for each in patient} == {grpc.StatusCode.OK}
    for each in refused:
        trailing = dict(each.trailing_metadata())
        assert (each.code(), trailing["mlrf-code"]) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        assert trailing["grpc-retry-pushback-ms"] == "1000"
    assert RestWire(server, binary=True).infer(ParsedRequest(rows(100), outputs=["shap_values"])).error == ""


def test_a_client_that_reads_no_answer_of_its_stream_is_left(light):
    with serving(light[0], options=["--grpc-port", "0", "--write-timeout", "1"]) as server:
        with Peer(address_of(server)) as peer:
            over = threading.Event()

            def requests():
                body = infer_body(5000)
                for _ in range(400):
                    yield body
                over.wait(LIMIT_S)

            stream = peer.channel.stream_stream(INFERENCE + "ModelStreamInfer")(requests(), timeout=60)
            # Nobody reads: the windows fill, and the writer waits for its limit.
            given_up = "mlrf_refusals_total;code=REQUEST_TIMEOUT"
            eventually(lambda: server.metrics().get(given_up), what="the end of writing")
            with pytest.raises(grpc.RpcError) as ended:
                list(stream)
            over.set()
        # What lies unread in the connection may be cut before the status reaches the client.
        assert ended.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
        if ended.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            assert "did not read" in ended.value.details()
        assert server.troubles == []


# Changes while calls go on


RETRYING = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": INFERENCE.strip("/")}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.02s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ]
    }
)


class Calling(threading.Thread):
    """Sends requests continuously over one channel, and compares each answer with the version that it names."""

    def __init__(self, peer, truth, body, **options):
        super().__init__(daemon=True)
        self._peer, self._truth, self._body, self._options = peer, truth, body, options
        self._stopped = threading.Event()
        self.seen: list[str] = []
        self.faults: list[str] = []

    def run(self):
        while not self._stopped.is_set():
            answer = self._peer.ask("ModelInfer", self._body, wait_for_ready=True, **self._options)
            if not isinstance(answer, bytes):
                self.faults.append(f"{answer.code()}: {answer.details()}")
                continue
            response = message("ModelInferResponse").FromString(answer)
            version = response.parameters["bundle_version"].string_param
            (prediction,) = struct.unpack("<d", response.raw_output_contents[0])
            if prediction != self._truth[version]:
                self.faults.append(f"{prediction} of {version}")
            self.seen.append(version)

    def __enter__(self):
        self.start()
        eventually(lambda: len(self.seen) > 3, what="answers")
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self.join(LIMIT_S)

    def goes_on(self, expected=None):
        """Wait for answers that began after now, of a version if one is named."""
        n = len(self.seen)
        eventually(lambda: len(self.seen) > n + 3 and expected in (None, self.seen[-1]), what="further answers")


@pytest.fixture(scope="module")
def truth(light):
    return {read_bundle(each).short_version: float(load(each).predict([ROW])[0]) for each in light}


def test_new_version_answers_and_no_call_fails(light, truth, tmp_path):
    old, new = (read_bundle(each).short_version for each in light)
    publish(light[0], tmp_path / "models")
    admin_socket = tmp_path / "admin.sock"
    options = ["--grpc-port", "0", "--admin", f"unix:{admin_socket}"]
    with serving(tmp_path / "models", workers=2, options=options) as server, contextlib.ExitStack() as opened:
        server.booted(2)
        pids = server.workers()
        callers = []
        for _ in range(3):
            peer = opened.enter_context(Peer(address_of(server)))
            callers.append(opened.enter_context(Calling(peer, truth, infer_body(1))))
        messages = Queue()
        stream = peer.channel.stream_stream(INFERENCE + "ModelStreamInfer")(iter(messages.get, None), timeout=60)

        def streamed():
            messages.put(infer_body(1))
            received = message("ModelStreamInferResponse").FromString(next(stream)).infer_response
            return received.parameters["bundle_version"].string_param

        assert streamed() == old
        publish(light[1], tmp_path / "models")
        with Client(admin_socket) as admin:
            admin.socket.settimeout(30)
            assert admin.ask("POST", "/admin/models/sample/load").status == 200
        assert streamed() == new
        messages.put(None)
        assert list(stream) == []
        for each in callers:
            each.goes_on(new)
        assert server.workers() == pids
        for version, is_ready in (("2", True), (new, True), ("1", False)):
            received = message("ModelReadyRequest")(name="sample", version=version).SerializeToString()
            assert message("ModelReadyResponse").FromString(peer.ask("ModelReady", received)).ready is is_ready
    for each in callers:
        assert each.faults == []
        assert each.seen == sorted(each.seen, key=[old, new].index), "an old answer after a new one"
        assert set(each.seen) == {old, new}
    assert server.troubles == []


@pytest.mark.timing
def test_workers_are_replaced_by_sighup_and_callers_go_on(light, truth):
    """A client that sends call after call loses none unless a call is in transit for longer than answers are held; a client that retries loses none."""
    with serving(light[0], workers=2, options=["--grpc-port", "0"]) as server, contextlib.ExitStack() as opened:
        before = server.booted(2)
        peers = [Peer(address_of(server)) for _ in range(6)]
        peers += [Peer(address_of(server), options=[("grpc.service_config", RETRYING)]) for _ in range(2)]
        callers = [Calling(opened.enter_context(peer), truth, infer_body(1)) for peer in peers]
        for each in callers:
            opened.enter_context(each)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: [e for e in server.log if e["event"] == "settings in force"], what="new workers")
        assert not set(before) & set(server.workers())
        for each in callers:
            each.goes_on()
    faults = [fault for each in callers[:6] for fault in each.faults]
    # Five of six, were answers not kept.
    assert len(faults) <= 2, faults
    assert {fault.partition(":")[0] for fault in faults} <= {"StatusCode.CANCELLED", "StatusCode.UNAVAILABLE"}
    assert [each.faults for each in callers[6:]] == [[], []]
    assert server.troubles == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("first", "second", "ca"):
        make_certificate(folder, name)
    for name in ("me", "stranger"):
        make_certificate(folder, name, signed_by="ca" if name == "me" else None)
    return folder


def put(folder, name):
    for kind in ("pem", "key"):
        (folder / f"cert.{kind}").write_bytes((folder / f"{name}.{kind}").read_bytes())


def credentials(folder, server_name, mine):
    parts = [(folder / f"{server_name}.pem").read_bytes()]
    parts += [(folder / f"{mine}.{kind}").read_bytes() for kind in ("key", "pem")] if mine else []
    return grpc.ssl_channel_credentials(*parts)


def test_mutual_tls_and_keys_work_together_and_reload(light, truth, folder, tmp_path):
    """A call that has both is answered, one that lacks either is not; a new certificate stops nobody."""
    put(folder, "first")
    key, line = make_key("me", ["predict"])
    write_keys(tmp_path / "keys", {line.id: line})
    options = ["--grpc-port", "0", "--keys", str(tmp_path / "keys"), "--tls-cert", str(folder / "cert.pem")]
    options += ["--tls-key", str(folder / "cert.key"), "--tls-client-ca", str(folder / "ca.pem")]
    bearer = {"metadata": (("authorization", f"Bearer {key}"),)}
    body = infer_body(1)

    def code(server, name="first", mine="me", **more):
        with Peer(address_of(server), credentials(folder, name, mine)) as peer:
            return peer.code("ModelInfer", body, **more)

    def is_up(server):
        return code(server, **bearer) == grpc.StatusCode.OK

    with serving(light[0], workers=2, options=options, is_ready=is_up) as server, contextlib.ExitStack() as opened:
        assert code(server) == grpc.StatusCode.UNAUTHENTICATED
        assert code(server, metadata=(("authorization", "Bearer a.b"),)) == grpc.StatusCode.UNAUTHENTICATED
        for mine in (None, "stranger"):
            assert code(server, mine=mine, **bearer) == grpc.StatusCode.UNAVAILABLE
        with TlsClient(server.port, trusting(folder, "first", shown="me")) as client:
            content = json.dumps({"inputs": [{"name": "features", "shape": [1, 30], "datatype": "FP64", "data": ROW}]})
            assert client.ask("POST", INFER, content.encode(), [f"Authorization: Bearer {key}"]).status == 200
        peer = opened.enter_context(Peer(address_of(server), credentials(folder, "first", "me")))
        calling = opened.enter_context(Calling(peer, truth, body, **bearer))
        put(folder, "second")
        eventually(lambda: code(server, "second", **bearer) == grpc.StatusCode.OK, what="the second certificate")
        # Each worker takes it at a handshake of its own.
        eventually(lambda: code(server, "first", **bearer) == grpc.StatusCode.UNAVAILABLE, what="the first one's end")
        calling.goes_on()
        write_keys(tmp_path / "keys", {})
        eventually(lambda: code(server, "second", **bearer) == grpc.StatusCode.UNAUTHENTICATED, what="the key's end")
        eventually(lambda: calling.faults, what="its end on a connection that stood")
    assert {each.partition(":")[0] for each in calling.faults} == {"StatusCode.UNAUTHENTICATED"}
    assert server.troubles == []
