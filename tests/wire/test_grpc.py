"""gRPC: calls of the Open Inference Protocol, health, reflection, keys and certificates, and what no call may do to a server."""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from queue import Queue

import grpc
import pytest

from bundles import write_tree_bundle
from certificates import make_certificate
from grpc_peer import INFERENCE, LIMIT_S, Peer, address_of
from inference_rows import ROW
from mlrf.serving.auth.keys import make_key, write_keys
from mlrf.serving.oip.grpc.message_types import FILES, message
from running import eventually, run_to_its_end, serving

OPTIONS = ["--grpc-port", "0", "--max-body-bytes", "100000", "--max-infer-rows", "3000000000"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("grpc") / "sales", name="sales")


@pytest.fixture(scope="module")
def server(path):
    with serving(path, workers=2, options=OPTIONS) as running:
        running.booted(2)
        pids = running.workers()
        yield running
        assert running.workers() == pids, "a worker died"
        assert running.troubles == []


@pytest.fixture(scope="module")
def peer(server):
    with Peer(address_of(server)) as client:
        yield client


def test_a_server_says_that_it_lives_and_answers(peer):
    assert message("ServerLiveResponse").FromString(peer.ask("ServerLive")).live
    assert message("ServerReadyResponse").FromString(peer.ask("ServerReady")).ready
    assert message("ServerMetadataResponse").FromString(peer.ask("ServerMetadata")).name == "mlrf"
    assert peer.code("NoSuchCall") == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("call", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_a_model_that_is_not_served_is_not_found_and_named(peer, call):
    error = peer.ask(call, message(call + "Request")(name="nobody").SerializeToString())
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "nobody" in error.details()
    metadata = dict(error.trailing_metadata())
    assert metadata["mlrf-code"] == "MODEL_NOT_FOUND"
    assert metadata["x-request-id"]


@pytest.mark.parametrize("fields", [{"name": "nobody"}, {"name": "sales", "version": "99"}, {}])
def test_a_model_that_is_not_served_is_not_ready(peer, fields):
    response = peer.ask("ModelReady", message("ModelReadyRequest")(**fields).SerializeToString())
    assert not message("ModelReadyResponse").FromString(response).ready


def test_health_lists_every_service(peer):
    response = message("grpc.health.v1.HealthListResponse").FromString(peer.ask("/grpc.health.v1.Health/List"))
    assert {name: each.status for name, each in response.statuses.items()} == {
        "": 1,
        "inference.GRPCInferenceService": 1,
    }


def test_row_limit_is_clamped_in_the_configuration(peer):
    body = message("ModelConfigRequest")(name="sales").SerializeToString()
    assert message("ModelConfigResponse").FromString(peer.ask("ModelConfig", body)).config.max_batch_size == 2**31 - 1


def test_malformed_message_is_an_invalid_argument(peer):
    error = peer.ask("ModelInfer", b"\x0a\xff\xff", metadata=(("x-request-id", "mine-7"),))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert dict(error.trailing_metadata())["x-request-id"] == "mine-7"


@pytest.mark.parametrize("how", list(grpc.Compression), ids=lambda how: how.name)
def test_compressed_message_over_the_limit_is_refused(peer, how):
    assert peer.code("ModelInfer", bytes(30_000_000), compression=how) == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_stream_answers_in_order_and_survives_what_it_refuses(peer):
    kind, response = message("ModelInferRequest"), message("ModelStreamInferResponse")
    messages = Queue()
    answers = peer.channel.stream_stream(INFERENCE + "ModelStreamInfer")(iter(messages.get, None), timeout=LIMIT_S)
    for number in range(3):
        messages.put(kind(model_name="nobody", id=str(number)).SerializeToString())
    messages.put(b"\x0a\xff\xff")
    read = [response.FromString(next(answers)) for _ in range(4)]
    messages.put(None)
    assert [each.infer_response.id for each in read] == ["0", "1", "2", ""]
    assert all("nobody" in each.error_message for each in read[:3])
    assert "is not a valid" in read[3].error_message
    assert list(answers) == []


def test_health_is_reported_by_service(peer):
    request, response = (message(f"grpc.health.v1.HealthCheck{each}") for each in ("Request", "Response"))
    for service in ("", "inference.GRPCInferenceService"):
        body = request(service=service).SerializeToString()
        assert response.FromString(peer.ask("/grpc.health.v1.Health/Check", body)).status == 1
        watching = peer.channel.unary_stream("/grpc.health.v1.Health/Watch")(body, timeout=LIMIT_S)
        assert response.FromString(next(watching)).status == 1
        watching.cancel()
    assert (
        peer.code("/grpc.health.v1.Health/Check", request(service="x").SerializeToString()) == grpc.StatusCode.NOT_FOUND
    )


def test_malformed_health_request_is_an_invalid_argument(peer):
    assert peer.code("/grpc.health.v1.Health/Check", b"\xff\xff") == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as refused:
        next(peer.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\xff\xff", timeout=LIMIT_S))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert dict(refused.value.trailing_metadata())["mlrf-code"] == "MALFORMED_REQUEST"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_every_service_it_lists(peer, version):
    request, response = (message(f"grpc.reflection.v1.ServerReflection{each}") for each in ("Request", "Response"))

    def ask(**fields):
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        body = request(**fields).SerializeToString()
        return response.FromString(next(peer.channel.stream_stream(path)(iter([body]), timeout=LIMIT_S)))

    services = [each.name for each in ask(list_services="").list_services_response.service]
    assert "inference.GRPCInferenceService" in services
    for service in services:
        (found,) = ask(file_containing_symbol=service).file_descriptor_response.file_descriptor_proto
        assert found in FILES.values()
    assert ask(file_containing_symbol="no.such").error_response.error_code == 5
    assert ask(file_by_filename="no.proto").error_response.error_code == 5


def test_calls_are_counted_under_their_path_like_routes(server, peer):
    def count(status):
        name = f"mlrf_requests_total;route={INFERENCE}ModelMetadata;status={status}"
        return server.metrics().get(name, 0)

    before = count(404)
    peer.ask("ModelMetadata", message("ModelMetadataRequest")(name="nobody").SerializeToString())
    eventually(lambda: count(404) == before + 1, what="the count of a refused call")


def test_load_and_unload_need_keys(peer):
    for call in ("RepositoryModelLoad", "RepositoryModelUnload"):
        assert (
            peer.code(call, message(call + "Request")(model_name="sales").SerializeToString())
            == grpc.StatusCode.PERMISSION_DENIED
        )


def test_keys_are_required_except_for_health(path, tmp_path):
    made = {name: make_key(name, [name]) for name in ("predict", "admin")}
    write_keys(tmp_path / "keys", {line.id: line for _, line in made.values()})

    def bearer(name):
        return {"metadata": (("authorization", f"Bearer {made[name][0]}"),)}

    load = message("RepositoryModelLoadRequest")(model_name="sales").SerializeToString()
    with (
        serving(path, options=["--grpc-port", "0", "--keys", str(tmp_path / "keys")]) as server,
        Peer(address_of(server)) as peer,
    ):
        for call in ("ServerLive", "ServerReady", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List"):
            assert peer.code(call) == grpc.StatusCode.OK
        for call in ("ServerMetadata", "ModelInfer", "RepositoryModelLoad"):
            assert peer.code(call) == grpc.StatusCode.UNAUTHENTICATED
            assert peer.code(call, metadata=(("authorization", "Bearer x.y"),)) == grpc.StatusCode.UNAUTHENTICATED
        assert peer.code("ServerMetadata", **bearer("predict")) == grpc.StatusCode.OK
        basic = base64.b64encode(f"anybody:{made['predict'][0]}".encode()).decode()
        assert peer.code("ServerMetadata", metadata=(("authorization", f"Basic {basic}"),)) == grpc.StatusCode.OK
        assert peer.code("ModelInfer", **bearer("admin")) == grpc.StatusCode.PERMISSION_DENIED
        assert peer.code("RepositoryModelLoad", load, **bearer("predict")) == grpc.StatusCode.PERMISSION_DENIED
        assert peer.code("RepositoryModelLoad", load, **bearer("admin")) == grpc.StatusCode.OK
        row = {"name": "features", "datatype": "FP64", "shape": [1, 7], "contents": {"fp64_contents": ROW}}
        plain = message("ModelInferRequest")(model_name="sales", inputs=[row])
        explained = message("ModelInferRequest")(model_name="sales", inputs=[row], outputs=[{"name": "shap_values"}])
        bodies = [each.SerializeToString() for each in (plain, explained, plain)]
        streaming = peer.channel.stream_stream(INFERENCE + "ModelStreamInfer")
        answers = [
            message("ModelStreamInferResponse").FromString(each)
            for each in streaming(iter(bodies), timeout=LIMIT_S, **bearer("predict"))
        ]
        # A key without the scope for explanations has that one request refused; without the scope to infer, the stream ends.
        assert ["'explain'" in each.error_message for each in answers] == [False, True, False]
        assert answers[0].infer_response.outputs == answers[2].infer_response.outputs != []
        with pytest.raises(grpc.RpcError) as refused:
            next(streaming(iter(bodies), timeout=LIMIT_S, **bearer("admin")))
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        reflecting = peer.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as refused:
            next(reflecting(iter([b"\x3a\x00"]), timeout=LIMIT_S))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_tls_is_served_and_client_certificates_required(path, tmp_path):
    ca, _ = make_certificate(tmp_path, "authority")
    cert, key = make_certificate(tmp_path, "localhost", signed_by="authority")
    mine, my_key = make_certificate(tmp_path, "me", signed_by="authority")
    options = ["--grpc-port", "0", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca]

    def answers(server):
        trusted = grpc.ssl_channel_credentials(ca.read_bytes(), my_key.read_bytes(), mine.read_bytes())
        with Peer(address_of(server), trusted) as peer:
            return peer.code("ServerLive", wait_for_ready=True) == grpc.StatusCode.OK

    with serving(path, options=list(map(str, options)), is_ready=answers) as server:
        for credentials in (None, grpc.ssl_channel_credentials(ca.read_bytes())):
            with Peer(address_of(server), credentials) as peer:
                assert peer.code("ServerLive") == grpc.StatusCode.UNAVAILABLE
        assert answers(server)


def test_a_stopping_server_says_so_and_ends_streams_that_rest(path):
    with serving(path, options=["--grpc-port", "0"]) as server, Peer(address_of(server)) as peer:
        watching = peer.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=LIMIT_S)
        assert next(watching) == b"\x08\x01"
        messages = Queue()
        streaming = peer.channel.stream_stream(INFERENCE + "ModelStreamInfer")(iter(messages.get, None))
        messages.put(b"")
        next(streaming)
        began = time.monotonic()
        server.process.terminate()
        assert list(watching) == [b"\x08\x02"]
        with pytest.raises(grpc.RpcError) as ended:
            next(streaming)
        messages.put(None)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        assert server.wait() == 0
        assert time.monotonic() - began < 80


def test_a_killed_worker_does_not_stop_the_service(path):
    with serving(path, workers=2, options=["--grpc-port", "0"]) as server:
        first = server.booted(2)
        os.kill(first[0], 9)
        for _ in range(20):
            with Peer(address_of(server)) as peer:
                assert peer.code("ServerLive", wait_for_ready=True) == grpc.StatusCode.OK
        eventually(lambda: first[0] not in server.workers() and len(server.workers()) == 2, what="a replacement")


def test_a_port_that_is_taken_ends_the_start(path, server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (str(taken.getsockname()[1]), address_of(server).rpartition(":")[2]):
            status, output, _ = run_to_its_end([path], "--port", "0", "--grpc-port", port)
            assert status == 2
            assert f"--grpc-port: 127.0.0.1:{port} is in use" in output


def test_many_callers_at_once_are_all_answered(peer):
    codes = Queue()

    def call():
        for _ in range(25):
            codes.put(peer.code("ServerMetadata"))

    callers = [threading.Thread(target=call) for _ in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert {codes.get() for _ in range(200)} == {grpc.StatusCode.OK}
