"""Loading and unloading by the Open Inference Protocol: one rule of access, one table of refusals, whatever carries the call."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from client_environment import PYTHON, needs_clients
from grpc_peer import Peer, address_of
from inference_rows import ROW
from mlrf.core.publishing import publish
from mlrf.serving.auth.keys import make_key, write_keys
from mlrf.serving.oip.grpc.message_types import message
from raw_http import Client
from running import serving

ROOT = Path(__file__).parents[2]
BODY = {"features": ALL_KINDS.example()}
ACTS = {"load": "RepositoryModelLoad", "unload": "RepositoryModelUnload"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A repository of two models, one of them damaged since, served to whoever has a key by two workers."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("sample", "damaged"):
        publish(write_tree_bundle(folder / name, name=name), folder / "models")
    made = {name: make_key(name, [name]) for name in ("predict", "explain", "admin")}
    made["all"] = make_key("all", ["predict", "admin"])
    write_keys(folder / "keys", {line.id: line for _, line in made.values()})
    options = [
        "--default",
        "sample",
        "--grpc-port",
        "0",
        "--keys",
        str(folder / "keys"),
        "--admin",
        f"unix:{folder / 'admin.sock'}",
    ]
    with serving(folder / "models", workers=2, options=options) as server:
        server.booted_with = server.workers()
        forest = folder / "models/damaged/1/forest.bin"
        forest.chmod(0o644)
        forest.write_bytes(forest.read_bytes()[:-1] + b"\x7f")
        server.keys = {name: key for name, (key, _) in made.items()}
        server.admin = folder / "admin.sock"
        yield server
        assert server.workers() == server.booted_with, "a worker died"
        assert {entry["event"] for entry in server.troubles} <= {"version not prepared", "reload refused"}


@pytest.fixture(scope="module")
def peer(served):
    with Peer(address_of(served)) as peer:
        yield peer


def rest(server, act, name="sample", body=b"", key=""):
    """Status, code and sentence; no code where all is well."""
    headers = [f"Authorization: Bearer {key}"] if key else []
    answer = server.ask("POST", f"/v2/repository/models/{name}/{act}", body, headers)
    if answer.status == 200:
        assert answer.json == {}
        return 200, None, None
    return answer.status, answer.code, answer.json["error"]


def grpc(peer, act, name="sample", parameters=(), key=""):
    """The same over gRPC, where codes have names."""
    call = message(f"{ACTS[act]}Request")(model_name=name)
    for each, value in parameters:
        kind = "bool_param" if isinstance(value, bool) else "string_param"
        setattr(call.parameters[each], kind, value)
    answer = peer.ask(
        ACTS[act], call.SerializeToString(), metadata=(("authorization", f"Bearer {key}"),) if key else ()
    )
    if isinstance(answer, bytes):
        response = message(f"{ACTS[act]}Response").FromString(answer)
        assert (response.model_name, getattr(response, "is_loaded" if act == "load" else "is_unloaded")) == (name, True)
        return "OK", None, None
    return answer.code().name, dict(answer.trailing_metadata())["mlrf-code"], answer.details()


@pytest.mark.parametrize(
    ("case", "status", "code", "mlrf_code", "sentence"),
    [
        ({"name": "none"}, 404, "NOT_FOUND", "MODEL_NOT_FOUND", "no model named 'none' is served"),
        ({"parameters": [("config", "{}")]}, 422, "INVALID_ARGUMENT", "INVALID_REQUEST", "publish a version"),
        ({"parameters": [("file:1/model", "x")]}, 422, "INVALID_ARGUMENT", "INVALID_REQUEST", "publish a version"),
        ({"parameters": [("whatever", True)]}, 422, "INVALID_ARGUMENT", "INVALID_REQUEST", 'has no parameter "whatever"'),
        ({"key": "predict"}, 403, "PERMISSION_DENIED", "NOT_PERMITTED", "the key lacks the scope 'admin'"),
        ({"key": "predict", "name": "none"}, 403, "PERMISSION_DENIED", "NOT_PERMITTED", "the key lacks the scope 'admin'"),
        ({"key": "explain"}, 403, "PERMISSION_DENIED", "NOT_PERMITTED", "the key lacks the scope 'admin'"),
        ({"key": ""}, 401, "UNAUTHENTICATED", "UNAUTHENTICATED", "this server needs a key"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("act", list(ACTS))
def test_refusals_are_the_same_over_both(served, peer, act, case, status, code, mlrf_code, sentence):
    name, parameters = case.get("name", "sample"), case.get("parameters", [])
    key = case.get("key", "admin")
    key = served.keys[key] if key else ""
    over_rest = rest(served, act, name, {"parameters": dict(parameters)} if parameters else b"", key)
    over_grpc = grpc(peer, act, name, parameters, key)
    assert over_rest[0] == status
    assert over_grpc[0] == code
    assert over_rest[1:] == over_grpc[1:]
    assert over_rest[1] == mlrf_code
    assert sentence in over_rest[2]
    assert is_served(served)


def is_served(server, n=8):
    """Whether the model answers, the same on every connection."""
    headers = [f"Authorization: Bearer {server.keys['all']}"]
    found = {server.ask("POST", "/models/sample/predict", BODY, headers).status for _ in range(n)}
    assert found in ({200}, {404})
    return found == {200}


def test_where_kserve_puts_the_name_it_is_read_too(served, peer):
    metadata = (("authorization", f"Bearer {served.keys['admin']}"),)
    for act, is_there in (("unload", False), ("load", True)):
        call = message(f"{ACTS[act]}Request")(repository_or_model_name="sample").SerializeToString()
        assert isinstance(peer.ask(ACTS[act], call, metadata=metadata), bytes)
        assert is_served(served) is is_there


def test_damaged_version_is_refused_consistently(served, peer):
    key = served.keys["admin"]
    assert rest(served, "unload", "damaged", key=key)[0] == 200
    errors = rest(served, "load", "damaged", key=key), grpc(peer, "load", "damaged", key=key)
    assert [each[0] for each in errors] == [409, "FAILED_PRECONDITION"]
    assert errors[0][1:] == errors[1][1:]
    assert errors[0][1] == "RELOAD_REFUSED"
    assert "forest.bin was altered" in errors[0][2]
    states = {
        e["name"]: e["state"]
        for e in served.ask("POST", "/v2/repository/index", b"", [f"Authorization: Bearer {key}"]).json
    }
    assert states == {"damaged": "UNAVAILABLE", "sample": "READY"}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters": null}', b'{"parameters": {"unload_dependents": false}}'])
def test_what_clients_send_is_taken(served, body):
    key = served.keys["admin"]
    assert rest(served, "unload", body=body, key=key)[0] == 200
    assert not is_served(served)
    assert rest(served, "load", body=body if b"depend" not in body else b"{}", key=key)[0] == 200
    assert is_served(served)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"parameters": 1}', b"\xff", b"[" * 5000])
def test_non_requests_are_malformed(served, body):
    assert rest(served, "unload", body=body, key=served.keys["admin"])[:2] == (400, "MALFORMED_REQUEST")
    assert is_served(served)


def test_the_admin_listener_has_them_without_a_key(served):
    for act, is_there in (("unload", False), ("load", True)):
        with Client(served.admin) as admin:
            assert admin.ask("POST", f"/v2/repository/models/sample/{act}", {"parameters": {}}).status == 200
        assert is_served(served) is is_there
    with Client(served.admin) as admin:
        assert admin.ask("POST", "/v2/repository/models/none/load").code == "MODEL_NOT_FOUND"
        assert admin.ask("GET", "/v2/repository/models/sample/load").status == 405


def test_repository_calls_without_keys_are_all_refused_alike(tmp_path):
    with (
        serving(write_tree_bundle(tmp_path / "sample"), options=["--grpc-port", "0"]) as server,
        Peer(address_of(server)) as peer,
    ):
        for act in ACTS:
            for name in ("sample", "none"):
                over_rest, over_grpc = rest(server, act, name), grpc(peer, act, name)
                assert (over_rest[0], over_grpc[0]) == (403, "PERMISSION_DENIED")
                assert over_rest[1:] == over_grpc[1:]
                assert "--keys" in over_rest[2]
        assert server.ask("POST", "/predict", BODY).status == 200
        assert server.troubles == []


@needs_clients
@pytest.mark.parametrize("suite", ["repository_triton.py", "repository_kserve.py"])
def test_clients_that_exist_load_and_unload(suite, served, tmp_path):
    headers = [f"Authorization: Bearer {served.keys['all']}"]
    document = {
        "http": f"127.0.0.1:{served.port}",
        "grpc": address_of(served),
        "keys": {"admin": served.keys["all"], "predict": served.keys["predict"]},
        "row": [float(value) for value in ROW],
        "prediction": served.ask("POST", "/models/sample/predict", BODY, headers).json["prediction"],
    }
    done = subprocess.run(
        [PYTHON, ROOT / "tests/clients" / suite, json.dumps(document)],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "every client was answered\n"), done.stderr[-3000:]
    assert is_served(served)
