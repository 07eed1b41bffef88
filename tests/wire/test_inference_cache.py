"""Cached answers of the data plane: one per row in any form, the same bits, nothing stale, and counted."""

from __future__ import annotations

import contextlib
import json
import struct
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from grpc_peer import Peer, address_of
from inference_rows import ROW, a_tensor_a_feature, native, one_tensor
from inference_wires import ParsedRequest, RestWire, Tensor, wires
from mlrf.core.bundle import read_bundle
from mlrf.core.feature import Feature
from mlrf.core.publishing import publish
from mlrf.core.schema import Schema
from mlrf.features.row_format import row_format
from mlrf.serving.auth.keys import make_key, write_keys
from raw_http import Client, request
from running import serving

KEY = {"sku": "integer"}
WIDE = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
N_WAITING = 12
N_LONG = 100
"""Rows whose explanations need the worker's thread on any machine."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One worker, so that every request finds what another left."""
    folder = tmp_path_factory.mktemp("cached")
    bundles = [
        write_tree_bundle(folder / "sample"),
        write_tree_bundle(folder / "long", name="long", schema=WIDE, n_trees=400, max_leaves=64),
    ]
    with serving(*bundles, options=["--grpc-port", "0"]) as running:
        yield running
        assert running.troubles == []


@pytest.fixture(scope="module")
def ways(server):
    with Peer(address_of(server)) as peer:
        yield list(wires(server, peer).values())


class Counts:
    """What the statistics of a model and the metrics count from now on."""

    def __init__(self, server, model="sample"):
        self._server, self._model = server, model
        self._before = self._now()

    def _now(self):
        (document,) = self._server.ask("GET", f"/v2/models/{self._model}/stats").json["model_stats"]
        parts = {name: part["count"] for name, part in document["inference_stats"].items()}
        metrics = self._server.metrics()
        return parts | {
            "ns": document["inference_stats"]["cache_hit"]["ns"],
            "inferences": document["inference_count"],
            "executions": document["execution_count"],
            "hits": metrics["mlrf_cache_hits_total"],
            "explanations": metrics["mlrf_explanations_total"],
        }

    def __getitem__(self, name):
        return self._now()[name] - self._before[name]


def row_of(price):
    return [price, *ROW[1:]]


def test_equal_rows_in_any_form_share_the_cache(server, ways):
    rows = [row_of(4.25), row_of(-1.5)]
    expected = native(server, rows)["predictions"]
    counts = Counts(server)
    n_sent = 0
    for wire in ways:
        for inputs in (one_tensor(rows, "FP64"), one_tensor(rows, "FP32"), a_tensor_a_feature(rows, "FP64")):
            response = wire.infer(ParsedRequest(inputs, id=f"{wire.name} {n_sent}"))
            assert response.outputs == {"prediction": expected}
            assert response.id == f"{wire.name} {n_sent}"
            n_sent += 1
    assert (counts["success"], counts["cache_hit"], counts["cache_miss"]) == (n_sent, n_sent - 2, 2)
    assert (counts["inferences"], counts["executions"], counts["compute_infer"]) == (4, 2, 2)
    # As Triton counts: perf_analyzer takes the hits off the waits, and fails where there were fewer.
    assert counts["queue"] == counts["executions"] + counts["cache_hit"]
    assert counts["hits"] == n_sent - 2
    assert counts["ns"] > 0


@pytest.mark.parametrize(
    "outputs", [["shap_values", "prediction"], ["prediction", "shap_values", "shap_base"], ["predict"]]
)
def test_cached_answer_has_the_requested_outputs(server, ways, outputs):
    inputs = one_tensor([row_of(7.75)], "FP64")
    first, *others = [wire.infer(ParsedRequest(inputs, outputs=outputs)) for wire in (*ways, *ways)]
    assert list(first.outputs) == outputs
    assert others == [first] * len(others)
    counts = Counts(server)
    assert ways[0].infer(ParsedRequest(inputs, outputs=outputs)) == first
    assert (counts["cache_hit"], counts["inferences"]) == (1, 0)


def test_other_outputs_of_cached_rows_are_computed_again(server, ways):
    inputs = one_tensor([row_of(8.125)], "FP64")
    for _ in range(3):
        assert list(ways[1].infer(ParsedRequest(inputs)).outputs) == ["prediction"]
    counts = Counts(server)
    response = ways[1].infer(ParsedRequest(inputs, outputs=["shap_base"]))
    assert response.shapes == {"shap_base": [1]}
    assert counts["cache_miss"] == 1


def test_equal_concurrent_requests_share_work_with_own_ids(server):
    parsed = ParsedRequest(
        [Tensor("features", "FP64", [0.125] * 30 * N_LONG, [N_LONG, 30])], "long", outputs=["shap_values"]
    )
    holding = replace(parsed, inputs=[Tensor("features", "FP64", [0.25] * 30 * N_LONG, [N_LONG, 30])])
    wire = RestWire(None, binary=False)
    path = "/v2/models/long/infer"
    counts = Counts(server, "long")
    with contextlib.ExitStack() as opened:
        first, *clients = [opened.enter_context(server.client()) for _ in range(N_WAITING + 1)]
        first.send(request("POST", path, wire.message(holding)[0]))
        for number, client in enumerate(clients):
            client.send(request("POST", path, wire.message(replace(parsed, id=str(number)))[0]))
        answers = [client.answer() for client in clients]
        assert first.answer().status == 200
    documents = [json.loads(answer.body) for answer in answers]
    assert [each.pop("id") for each in documents] == [str(number) for number in range(N_WAITING)]
    assert documents == documents[:1] * N_WAITING
    assert counts["explanations"] == counts["inferences"] == 2 * N_LONG
    assert (counts["success"], counts["cache_hit"], counts["cache_miss"]) == (N_WAITING + 1, N_WAITING - 1, 2)


def test_cached_explanations_need_the_scope(tmp_path):
    made = {name: make_key(name, name.split("+")) for name in ("predict", "predict+explain")}
    write_keys(tmp_path / "keys", {line.id: line for _, line in made.values()})
    bundle = write_tree_bundle(tmp_path / "sample")
    options = ["--grpc-port", "0", "--keys", str(tmp_path / "keys")]
    parsed = ParsedRequest(one_tensor([ROW], "FP64"), outputs=["shap_values"])
    with serving(bundle, options=options) as server, Peer(address_of(server)) as peer:
        for wire in wires(server, peer).values():
            for _ in range(3):
                assert wire.infer(parsed, key=made["predict+explain"][0]).error == ""
            response = wire.infer(parsed, key=made["predict"][0])
            assert (response.code, response.outputs) == ("NOT_PERMITTED", {})


def test_disabled_cache_gives_the_same_bits(server, ways, tmp_path):
    parsed = ParsedRequest(one_tensor([row_of(0.1), row_of(None)], "FP64"), outputs=["prediction", "shap_values"])
    kept = [wire.infer(parsed) for wire in ways]
    with serving(write_tree_bundle(tmp_path / "sample"), options=["--grpc-port", "0", "--cache", "0"]) as bare:
        counts = Counts(bare)
        with Peer(address_of(bare)) as peer:
            made = [wire.infer(parsed) for wire in wires(bare, peer).values()]
        assert (counts["cache_hit"], counts["cache_miss"], counts["executions"]) == (0, 0, 4)
    assert [(each.outputs, each.shapes) for each in made] == [(each.outputs, each.shapes) for each in kept]


# Two workers, each with its own answers: what is replaced is given by neither


@pytest.fixture
def replaced(tmp_path):
    """A server of two workers whose model and rows are about to change, and ways to ask both of them again and again."""
    options = {"name": "sample", "key": KEY}
    bundles = [write_tree_bundle(tmp_path / str(seed), seed=seed, **options) for seed in (7, 8)]
    admin = tmp_path / "admin"
    options = ["--grpc-port", "0", "--admin", f"unix:{admin}", "--state-dir", str(tmp_path / "state")]
    publish(bundles[0], tmp_path / "models")
    with serving(tmp_path / "models", workers=2, options=options) as server, contextlib.ExitStack() as opened:
        server.booted(2)
        server.bundles, server.models, server.admin = bundles, tmp_path / "models", admin
        peers = [opened.enter_context(Peer(address_of(server))) for _ in range(4)]
        server.ways = [
            wires(Kept(opened.enter_context(server.client())), peer)[name] for peer in peers for name in WIRES
        ]
        yield server
        assert server.troubles == []


WIRES = ("REST, JSON", "REST, binary", "gRPC, raw")


class Kept:
    """A server that is asked over one connection, and so by one worker."""

    def __init__(self, client):
        self.ask = client.ask


def push(server, price, as_of):
    row = {"key": {"sku": 1}, "features": ALL_KINDS.example() | {"price": price}, "as_of": as_of}
    with Client(server.admin) as admin:
        assert admin.ask("POST", "/admin/models/sample/features", {"rows": [row]}).status == 200


def test_neither_an_old_version_nor_an_old_row_is_answered(replaced):
    by_row = ParsedRequest(one_tensor([row_of(3.5)], "FP64"))
    by_key = ParsedRequest([Tensor("sku", "INT64", [1], [1])])
    models = [mlrf.load(bundle) for bundle in replaced.bundles]
    versions = [read_bundle(bundle).short_version for bundle in replaced.bundles]

    def expected(number, price):
        return [float(models[number].predict([ALL_KINDS.example() | {"price": price}])[0])]

    def check(number, price, as_of):
        """Every worker, over every transport, first made and then from its memory."""
        for _ in range(3):
            for wire in replaced.ways:
                response = wire.infer(by_key)
                assert response.error == ""
                assert (response.outputs["prediction"], response.parameters["features_as_of"]) == (
                    expected(number, price),
                    as_of,
                )
                assert wire.infer(by_row).outputs["prediction"] == expected(number, 3.5)
                assert response.parameters["bundle_version"] == versions[number]

    days = [f"2026-02-0{day}T00:00:00Z" for day in (1, 2)]
    push(replaced, 1.5, days[0])
    counts = Counts(replaced)
    check(0, 1.5, days[0])
    assert counts["cache_hit"] >= len(replaced.ways)
    push(replaced, 6.5, days[1])
    check(0, 6.5, days[1])
    publish(replaced.bundles[1], replaced.models)
    with Client(replaced.admin) as admin:
        admin.socket.settimeout(30)
        assert admin.ask("POST", "/admin/models/sample/load", b"").status == 200
    push(replaced, 6.5, days[1])
    check(1, 6.5, days[1])


def test_key_like_row_and_stale_row_are_not_served_from_cache(tmp_path):
    schema = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(7)))
    bundle = write_tree_bundle(tmp_path / "sample", schema=schema, key={"name": "string"})
    encode = row_format(read_bundle(bundle)).key.encode
    name = "n" * (7 * 8 - 4 - len(encode({"name": ""})))
    spelled = (len(encode({"name": name}))).to_bytes(4, "little") + encode({"name": name})
    numbers = list(struct.unpack("<7d", spelled))
    admin = tmp_path / "admin"
    options = ["--grpc-port", "0", "--admin", f"unix:{admin}", "--state-dir", str(tmp_path / "state")]
    with serving(bundle, options=[*options, "--max-feature-age", "3600"]) as server, Peer(address_of(server)) as peer:
        old_at = time.time() + 1.5
        as_of = datetime.fromtimestamp(old_at - 3600, UTC).isoformat()
        row = {"key": {"name": name}, "features": dict.fromkeys(schema.names, -0.5), "as_of": as_of}
        with Client(admin) as client:
            assert client.ask("POST", "/admin/models/sample/features", {"rows": [row]}).status == 200
        by_key = ParsedRequest([Tensor("name", "BYTES", [name], [1])])
        by_row = ParsedRequest([Tensor("features", "FP64", numbers, [1, 7])])
        ways = list(wires(server, peer).values())
        expected = [float(x) for x in mlrf.load(bundle).predict([numbers, [-0.5] * 7])]
        assert expected[0] != expected[1]
        for number in range(1_000_000):
            began = time.time()
            response = ways[number % 4].infer(by_key)
            if response.error:
                break
            # An answer that was begun in time may be given a moment later.
            assert began < old_at
            assert response.outputs["prediction"] == expected[1:]
            assert ways[number % 4].infer(by_row).outputs["prediction"] == expected[:1]
        assert time.time() >= old_at - 0.001
        assert response.code == "STALE_FEATURES"
        assert {wire.infer(by_key).code for wire in ways} == {"STALE_FEATURES"}
        assert ways[0].infer(by_row).outputs["prediction"] == expected[:1]
        assert server.troubles == []
