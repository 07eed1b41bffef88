"""Over every transport each stage of a request is counted once, and together the stages take no longer than the requests."""

from __future__ import annotations

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from grpc_peer import Peer, address_of
from inference_rows import ROW, one_tensor
from inference_wires import ParsedRequest, Tensor, wires
from raw_http import Client
from running import serving

EVERY_REQUEST = "from mlrf.serving.telemetry import request_observer\nrequest_observer.STAGE_RATE = 1.0"
N = 5
ONE = {"features": ALL_KINDS.example()}
STAGES = ("queue", "decode", "features", "engine", "explain", "rest")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    path = write_tree_bundle(folder / "sample", name="sample", key={"id": "integer"})
    options = ["--cache", "0", "--grpc-port", "0", "--state-dir", str(folder / "state")]
    options += ["--admin", f"unix:{folder / 'admin.sock'}"]
    with serving(path, options=options, broken_by=EVERY_REQUEST) as running:
        row = {"key": {"id": 1}, "features": ALL_KINDS.example()}
        with Client(folder / "admin.sock") as admin:
            assert admin.ask("POST", "/admin/models/sample/features", {"rows": [row]}).status == 200
        yield running


def counted(server, before):
    """How often each stage was counted since, and the seconds of all stages and of all requests that predict."""
    found = server.metrics()
    change = {name: value - before.get(name, 0) for name, value in found.items()}
    of_stages = {stage: change[f"mlrf_stage_duration_seconds_count;model=sample;stage={stage}"] for stage in STAGES}
    stages_s = sum(change[f"mlrf_stage_duration_seconds_sum;model=sample;stage={stage}"] for stage in STAGES)
    requests_s = sum(
        value for name, value in change.items() if name.startswith("mlrf_request_duration_seconds_sum;model=sample")
    )
    return {stage: n for stage, n in of_stages.items() if n}, stages_s, requests_s


@pytest.mark.parametrize(
    ("path", "body", "stages"),
    [
        ("/predict", ONE, "decode engine rest"),
        ("/predict", ONE | {"unknown_categories": "missing"}, "decode engine rest"),
        ("/predict", {"key": {"id": 1}}, "decode features engine rest"),
        ("/explain", ONE, "decode engine explain rest"),
        ("/predict/batch", {"instances": [ONE, ONE]}, "decode engine rest"),
        ("/predict/batch", {"instances": [ONE, {"key": {"id": 1}}]}, "decode features engine rest"),
    ],
)
def test_a_native_request_counts_each_stage_once(server, path, body, stages):
    before = server.metrics()
    for _ in range(N):
        assert server.ask("POST", path, body).status == 200
    of_stages, stages_s, requests_s = counted(server, before)
    assert of_stages == dict.fromkeys(stages.split(), N)
    assert 0 < stages_s <= requests_s


@pytest.mark.parametrize("wire", ["REST, JSON", "REST, binary", "gRPC, values", "gRPC, raw"])
@pytest.mark.parametrize("by_key", [False, True])
def test_an_inference_request_counts_each_stage_once(server, wire, by_key):
    inputs = [Tensor("id", "INT64", [1], [1])] if by_key else one_tensor([ROW], "FP64")
    with Peer(address_of(server)) as peer:
        before = server.metrics()
        for _ in range(N):
            assert wires(server, peer)[wire].infer(ParsedRequest(inputs)).status in (200, "OK")
        of_stages, stages_s, requests_s = counted(server, before)
    assert of_stages == dict.fromkeys(["decode", "engine", "rest", *(["features"] if by_key else [])], N)
    assert 0 < stages_s <= requests_s


def test_a_request_that_predicts_nothing_counts_no_stage(server):
    before = server.metrics()
    for path in ("/healthz", "/metrics", "/v2/models/sample", "/models"):
        assert server.ask("GET", path).status == 200
    assert server.ask("POST", "/predict", {"features": {}}).status == 422
    assert counted(server, before)[0] == {}
