"""`mlrf replay`: the prediction log of a server, answered again; equal to the bit, or listed with what moved."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from arrow_streams import ROWS as ARROW_ROWS
from arrow_streams import stream
from bundles import ALL_KINDS, write_tree_bundle
from grpc_peer import Peer, address_of
from inference_rows import ROW, a_tensor_a_feature, one_tensor
from inference_wires import ParsedRequest, Tensor, wires
from mlrf.cli.app import app
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import InvalidRequestError
from mlrf.core.publishing import publish
from mlrf.model.logged_predictions import read_log
from mlrf.scoring import score
from mlrf.serving.telemetry import parquet_parts
from raw_http import Client
from running import eventually, serving

EXAMPLE = ALL_KINDS.example()
STORED = EXAMPLE | {"price": 7.25, "store": None}


def body(**rest):
    return {"features": EXAMPLE} | rest


REQUESTS = {
    "/predict": [
        body(),
        EXAMPLE,
        body(explain=True, return_features=True),
        {"features": EXAMPLE | {"price": 1e300, "code": None}},
        {"key": {"id": 1}},
        {"key": {"id": 1}, "explain": 3},
        {"key": {"id": 1}, "overrides": {"count": 9}},
    ],
    "/explain": [body(), {"key": {"id": 1}}],
    "/predict/batch": [
        {"instances": [body(), {"key": {"id": 1}}, body(explain=2)]},
        {"columns": list(EXAMPLE), "data": [list(EXAMPLE.values())] * 3},
    ],
    "/v1/models/sample:predict": [{"instances": [EXAMPLE]}],
}


def run(*arguments):
    done = CliRunner().invoke(app, ["replay", *map(str, arguments), "--json"], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A repository of two versions, of which the first was served, and the log of its answers."""
    folder = tmp_path_factory.mktemp("replay")
    write_tree_bundle(folder / "old", key={"id": "integer"})
    write_tree_bundle(folder / "new", key={"id": "integer"}, seed=8)
    publish(folder / "old", folder / "models")
    (folder / "log").mkdir()
    options = ["--prediction-log", str(folder / "log"), "--state-dir", str(folder / "state"), "--grpc-port", "0"]
    options += ["--admin", f"unix:{folder / 'admin.sock'}"]
    with serving(folder / "models", options=options) as server, Peer(address_of(server)) as peer:
        with Client(folder / "admin.sock") as admin:
            assert (
                admin.ask(
                    "POST", "/admin/models/sample/features", {"rows": [{"key": {"id": 1}, "features": STORED}]}
                ).status
                == 200
            )
        n = 0
        for path, bodies in REQUESTS.items():
            for each in bodies * 3:  # the second is kept in the cache, the third comes from it
                answer = server.ask("POST", path, each)
                assert answer.status == 200, answer.json
                n += 1
        headers = ["Content-Type: application/vnd.apache.arrow.stream"]
        assert server.ask("POST", "/predict/batch", stream(pa.Table.from_pylist(ARROW_ROWS)), headers).status == 200
        for number, wire in enumerate(wires(server, peer).values()):
            inputs = one_tensor([ROW] * 2, "FP64") if number % 2 else a_tensor_a_feature([ROW] * 2, "FP64")
            assert wire.infer(ParsedRequest(inputs, id=str(number))).status == "OK"
        by_key = [Tensor("id", "INT64", [1, 1], [2, 1])]
        for number, wire in enumerate([*wires(server, peer).values()] * 3):
            assert wire.infer(ParsedRequest(by_key, id=f"key {number}")).status == "OK"
        coded = json.dumps(
            {"inputs": [{"name": "id", "shape": [100], "datatype": "INT64", "data": [1] * 100}], "id": "key coded"}
        ).encode()
        headers = ["Accept-Encoding: gzip"]
        answer = server.ask("POST", "/v2/models/sample/infer", coded, headers)
        assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
        n += 5 + 13
        eventually(lambda: server.metrics()["mlrf_prediction_log_records_total"] == n, what=f"{n} records")
        # Later rows do not change what was answered.
        with Client(folder / "admin.sock") as admin:
            admin.ask("POST", "/admin/models/sample/features", {"rows": [{"key": {"id": 1}, "features": EXAMPLE}]})
    publish(folder / "new", folder / "models")
    version = read_bundle(folder / "old").short_version

    def counts(what):
        """By version, when all records are alike; three do not name theirs."""
        return {f"sample {version}": {what: n - 3}, "- -": {what: 3}}

    return SimpleNamespace(folder=folder, log=folder / "log", n=n, version=version, counts=counts)


def test_every_record_of_a_log_is_answered_with_the_same_bits(logged):
    for target in ("models/sample@1", "old"):
        status, found = run(logged.log, logged.folder / target)
        assert found == {"versions": logged.counts("equal"), "failed": []}
        assert status == 0


def test_each_version_of_a_repository_answers_its_own_records(logged):
    for target in ("models", "models/sample"):
        status, found = run(logged.log, logged.folder / target)
        # Answers of other servers' routes do not name their version.
        assert found["versions"] == logged.counts("equal") | {"- -": {"not answered": 3}}
        assert {each["refused"] for each in found["failed"]} == {
            "the answer does not name its version; name a bundle to answer with"
        }
        assert status == 1


def test_records_by_key_keep_their_features(logged):
    lines = [json.loads(line) for file in logged.log.iterdir() for line in file.read_text().splitlines()]
    by_key = [each for each in lines if '"key"' in json.dumps(each["request"])]
    assert len(by_key) == 15
    for each in by_key:
        features = each["features"][1] if each["route"] == "/predict/batch" else each["features"]
        assert features == STORED | ({"count": 9} if "overrides" in each["request"] else {})
        if each["route"] == "/predict/batch":
            assert [row is None for row in each["features"]] == [True, False, True]
    assert {each["answer"]["cached"] for each in by_key} == {True, False}
    by_tensors = [each for each in lines if str(each["request"].get("id", "")).startswith("key")]
    assert len(by_tensors) == 13
    for each in by_tensors:
        assert each["features"] == [STORED] * each["answer"]["outputs"][0]["shape"][0]
    assert not any("features" in each for each in lines if each not in by_key + by_tensors)


def test_another_model_differs_with_what_moved(logged):
    for target in ("models/sample@2", "new"):
        status, found = run(logged.log, logged.folder / target)
        assert status == 1
        assert found["versions"] == logged.counts("different")
        assert len(found["failed"]) == 20
        first = found["failed"][0]
        before, now = first["members"]["prediction"]
        assert before != now
        moved = first["moved"][0]["features"]
        assert {each["feature"]: each["value"] for each in moved}.items() <= EXAMPLE.items()
        # The repository has the version that answered; a bundle alone has none.
        assert all((each["before"] is None) == (target == "new") for each in moved)


def test_text_names_the_records_that_differ(logged):
    done = CliRunner().invoke(app, ["replay", str(logged.log), str(logged.folder / "new")], catch_exceptions=False)
    assert done.exit_code == 1
    assert f"sample {logged.version}: {logged.n - 3} different" in done.stdout
    assert "  prediction: " in done.stdout
    assert "contribution None -> " in done.stdout


def test_a_single_bit_is_noticed(logged, tmp_path):
    (file,) = logged.log.iterdir()
    line = json.loads(file.read_text().splitlines()[0])
    line["answer"]["prediction"] = (
        float.fromhex("0x1p-52") * abs(line["answer"]["prediction"]) + line["answer"]["prediction"]
    )
    (tmp_path / "predictions-x.jsonl").write_text(json.dumps(line) + "\n")
    status, found = run(tmp_path, logged.folder / "models")
    assert (status, found["versions"]) == (1, {f"sample {logged.version}": {"different": 1}})


def test_what_cannot_be_answered_fails(logged, tmp_path):
    write_tree_bundle(tmp_path / "other", seed=9)
    publish(tmp_path / "other", tmp_path / "models")
    status, found = run(logged.log, tmp_path / "models")
    assert (status, found["versions"]) == (1, logged.counts("not answered"))
    assert "is not in the repository" in found["failed"][0]["refused"]


@pytest.mark.parametrize("request_text", ["{", "[" * 100_000, '{"inputs": 5}', '{"instances": 5}', "[1]", "5"])
def test_a_damaged_record_fails_by_itself(logged, tmp_path, request_text):
    [line, *_] = next(logged.log.glob("*.jsonl")).read_bytes().splitlines()
    record = json.loads(line)
    rows = [
        {**record, "route": route, "request": request_text} for route in ("/predict", "/predict/batch", "/v2/infer")
    ]
    rows = [each | {"answer": json.dumps(record["answer"]), "features": None} for each in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "predictions-1.parquet")
    status, found = run(tmp_path / "predictions-1.parquet", logged.folder / "old")
    assert (status, found["versions"]) == (1, {name: {"not answered": 3} for name in found["versions"]})


def test_a_log_may_omit_the_features(logged, tmp_path):
    options = ["--prediction-log", str(tmp_path), "--prediction-log-features", "omit"]
    with serving(
        logged.folder / "old",
        options=[*options, "--state-dir", str(logged.folder / "state2"), "--admin", f"unix:{tmp_path / 'a'}"],
    ) as server:
        with Client(tmp_path / "a") as admin:
            admin.ask("POST", "/admin/models/sample/features", {"rows": [{"key": {"id": 1}, "features": STORED}]})
        server.ask("POST", "/predict", {"key": {"id": 1}})
        eventually(lambda: server.metrics()["mlrf_prediction_log_records_total"] == 1)
    status, found = run(tmp_path, logged.folder / "old")
    assert status == 1
    assert "whose stored features the log does not have" in found["failed"][0]["refused"]


def test_a_log_of_parquet_files_is_replayed_alike(logged, tmp_path):
    shutil.copytree(logged.log, tmp_path / "log")
    assert parquet_parts.main(tmp_path / "log") == 0
    assert [each.suffix for each in (tmp_path / "log").iterdir()] == [".parquet"]
    status, found = run(tmp_path / "log", logged.folder / "old")
    assert (status, found["versions"]) == (0, logged.counts("equal"))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_of_a_log_are_scored_with_the_bits_of_the_server(logged, tmp_path, form):
    shutil.copytree(logged.log, tmp_path / "log")
    if form == "parquet":
        parquet_parts.main(tmp_path / "log")
    answered = {}
    for record in read_log(tmp_path / "log"):
        answer = json.loads(bytes(record.answer))
        if "outputs" in answer:
            predictions = answer["outputs"][0]["data"]
        else:
            predictions = answer.get("predictions", [answer.get("prediction")])
        for instance, each in enumerate(predictions):
            answered[record.request_id, instance] = each
    keep = ["time", "request_id", "route", "version", "instance", "key", "price"]
    score(logged.folder / "old", tmp_path / "log", tmp_path / "out", keep=keep)
    found = pq.read_table(tmp_path / "out").to_pylist()
    assert {(each["request_id"], int(each["instance"])): each["prediction"] for each in found} == answered
    by_key = [each for each in found if each["key"] is not None]
    assert {each["key"] for each in by_key} == {'{"id":1}'}
    assert {each["price"] for each in by_key} == {"7.25"}
    assert {each["version"] for each in found} == {logged.version, None}
    done = CliRunner().invoke(app, ["predict", str(logged.folder / "old"), str(next((tmp_path / "log").iterdir()))])
    assert len(done.stdout.splitlines()) == len(answered)
    done = CliRunner().invoke(
        app, ["diff", str(logged.folder / "old"), str(logged.folder / "new"), "--rows", str(tmp_path / "log"), "--json"]
    )
    assert json.loads(done.stdout)["predictions"]["rows"] == len(answered)


def test_rows_that_a_log_does_not_have_are_named(logged, tmp_path):
    line = json.loads(next(logged.log.iterdir()).read_text().splitlines()[0])
    line |= {"request": {"key": {"id": 1}}, "request_id": "mine"}
    (tmp_path / "predictions-x.jsonl").write_text(json.dumps(line) + "\n" + '{"time": "20')
    with pytest.raises(InvalidRequestError, match=r"x\.jsonl: row 0: .* whose stored features the log does not have"):
        score(logged.folder / "old", tmp_path / "predictions-x.jsonl", tmp_path / "out")
    summary = score(logged.folder / "old", tmp_path / "predictions-x.jsonl", tmp_path / "nulls", on_bad_row="null")
    assert (summary.rows, summary.bad_rows) == (1, 1)
    done = CliRunner().invoke(
        app, ["diff", str(logged.folder / "old"), str(logged.folder / "new"), "--rows", str(tmp_path)]
    )
    assert "the record mine: a prediction by key whose stored features" in str(done.exception)
