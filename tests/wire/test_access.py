"""Keys and their scopes, TLS, and pages of other origins."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time

import pytest

from api_keys import bearer, mlrf_keys
from raw_http import Client, request
from running import eventually, run_to_its_end, serving


@pytest.fixture(scope="module")
def keyed(tree_bundle, tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys = {}
    for name, scopes in (
        ("p", ["predict"]),
        ("e", ["explain"]),
        ("both", ["predict", "explain"]),
        ("a", ["admin"]),
        ("m", ["metrics"]),
    ):
        status, keys[name] = mlrf_keys(file, "--add", name, *(part for s in scopes for part in ("--scope", s)))
        assert status == 0
    with serving(tree_bundle, options=["--keys", str(file), "--admin", "127.0.0.1:0"]) as server:
        server.file, server.keys = file, keys
        yield server


def test_the_file_holds_no_key_and_only_its_owner_may_read_it(keyed):
    text = keyed.file.read_text()
    assert all(key not in text and key.partition(".")[2] not in text for key in keyed.keys.values())
    assert keyed.file.stat().st_mode & 0o777 == 0o600
    status, output = mlrf_keys(keyed.file)
    assert (status, len(output.splitlines())) == (0, 5)


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("p", {"/predict", "/predict/batch"}),
        ("e", {"/explain"}),
        ("both", {"/predict", "/predict/batch", "/explain"}),
        ("a", set()),
        ("m", set()),
    ],
)
def test_a_key_opens_the_routes_of_its_scopes_and_no_other(keyed, example, who, allowed):
    headers = bearer(keyed.keys[who])
    for route, body in (("/predict", example), ("/explain", example), ("/predict/batch", {"instances": [example]})):
        for prefix in ("", "/models/b"):
            answer = keyed.ask("POST", prefix + route, body, headers)
            if route in allowed:
                assert answer.status == 200
            else:
                assert (answer.status, answer.code) == (403, "NOT_PERMITTED")
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    for route in ("/models", "/metrics", "/openapi.json", "/docs"):
        assert keyed.ask("GET", route, headers=headers).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Basic abc",
        "Basic {wrong}",
        "Basic {unparted}",
        "Basic {user}",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer x.y",
        "Bearer {p}x",
        "Bearer {id}.wrong",
        "{p}",
        "Bearer \xff",
    ],
)
def test_without_valid_key_nothing_is_read_or_revealed(keyed, example, wrong):
    key = keyed.keys["p"]
    values = {"wrong": f"user:{key}x", "unparted": key, "user": f"{key}:"}
    values = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    value = wrong.format(p=key, id=key.partition(".")[0], **values)
    headers = [f"Authorization: {value}"] if wrong else []
    for method, route in (
        ("POST", "/predict"),
        ("GET", "/models"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
        ("PUT", "/predict"),
    ):
        with keyed.client() as client:
            content = request(method, route, example if method == "POST" else b"", headers)
            client.send(content.replace("\xff".encode(), b"\xff"))
            answer = client.answer()
            assert (answer.status, answer.code) == (401, "UNAUTHENTICATED")
            assert answer.headers["www-authenticate"] == 'Bearer realm="mlrf"'
            assert client.is_closed()


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC "])
@pytest.mark.parametrize("user", ["", "anybody", "süd"])
def test_a_key_may_be_the_password_of_basic(keyed, example, scheme, user):
    """As Triton's client plugin BasicAuth sends it."""
    key = base64.b64encode(f"{user}:{keyed.keys['p']}".encode()).decode()
    assert keyed.ask("POST", "/predict", example, [f"Authorization: {scheme} {key}"]).status == 200
    assert keyed.ask("POST", "/explain", example, [f"Authorization: {scheme} {key}"]).code == "NOT_PERMITTED"


def test_missing_key_is_refused_before_the_body(keyed):
    with keyed.client() as client:
        client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        assert client.answer().status == 401


def test_two_keys_are_one_too_many(keyed):
    assert keyed.ask("GET", "/models", headers=bearer(keyed.keys["p"]) + bearer(keyed.keys["e"])).status == 400


@pytest.mark.parametrize("path_", ["/", "/docs"])
def test_page_without_a_key_asks_for_one_and_names_no_model(keyed, path_):
    answer = keyed.ask("GET", path_)
    assert answer.status == 200
    text = answer.body.decode()
    assert '<input type="password"' in text
    assert "<main></main>" in text
    for secret in ("sample", "price", "/models/b", "north"):
        assert secret not in text
    assert keyed.ask("GET", "/docs/models").code == "UNAUTHENTICATED"
    models = keyed.ask("GET", "/docs/models", headers=bearer(keyed.keys["p"]))
    for name in (
        "content-security-policy",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "content-type",
    ):
        assert models.headers[name] == answer.headers[name]
    part = models.body.decode()
    assert "/models/b/predict" in part
    assert "<script" not in part


@pytest.mark.parametrize("path_", ["/healthz", "/readyz"])
def test_what_watches_needs_no_key(keyed, path_):
    assert keyed.ask("GET", path_).status == 200


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        '{"explain": true, %s}',
        '{%s, "explain": 3}',
        '{%s, "expl\\u0061in": true}',
        '{%s, "explain": true, "explain": 1}',
    ],
)
def test_an_explanation_in_the_body_needs_its_scope(keyed, example, text, packed):
    body = (text % json.dumps(example)[1:-1]).encode()
    batch = b'{"instances": [%b]}' % body
    for route, content in (("/predict", body), ("/predict/batch", batch)):
        sent = gzip.compress(content) if packed else content
        extra = ["Content-Encoding: gzip"] if packed else []
        answer = keyed.ask("POST", route, sent, bearer(keyed.keys["p"]) + extra)
        assert (answer.status, answer.json["details"]) == (403, {"scope": "explain"})
        assert keyed.ask("POST", route, sent, bearer(keyed.keys["both"]) + extra).status == 200
    no = json.dumps(example | {"explain": False})
    assert keyed.ask("POST", "/predict", no.encode(), bearer(keyed.keys["p"])).status == 200


@pytest.mark.parametrize(
    "text",
    [
        '[{%s, "expl\\u0061in": true}]',
        '[[%s], {%s, "expl\\u0061in": true}]',
        '{"instances": [[%s], {%s, "expl\\u0061in": 1}]}',
        '{"columns": [%s], "data": [[%s]], "expl\\u0061in": true}',
    ],
)
def test_an_explanation_in_a_natural_batch_needs_its_scope(keyed, example, text):
    row = example["features"]
    # A number for a size could be a code; one of 301 digits is a price that decoders of integers do not take.
    unnamed = [{"size": None, "price": 10**300}.get(name, value) for name, value in row.items()]
    inside = {"{%s": json.dumps(example)[1:-1], "[%s": json.dumps(unnamed)[1:-1]}
    names = json.dumps(list(row))[1:-1]
    body = text.replace('"columns": [%s', '"columns": [' + names)
    for marker, content in inside.items():
        body = body.replace(marker, marker[0] + content)
    answer = keyed.ask("POST", "/predict/batch", body.encode(), bearer(keyed.keys["p"]))
    assert (answer.status, answer.json["details"]) == (403, {"scope": "explain"})
    answer = keyed.ask("POST", "/predict/batch", body.encode(), bearer(keyed.keys["both"]))
    assert answer.status == 200, answer.json
    plain = body.replace("true", "false").replace(": 1}", ": false}")
    assert keyed.ask("POST", "/predict/batch", plain.encode(), bearer(keyed.keys["p"])).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"], 403),
        (["Origin: null"], 403),
        (["Host: evil.example"], 403),
        (["Host: evil.example:80"], 403),
        (["Host: 127.0.0.1.evil.example"], 403),
        (["Host: localhost:1234"], 200),
        (["Host: LOCALHOST"], 200),
        (["Host: 127.0.0.1"], 200),
        (["Host: [::1]:9"], 200),
        ([], 200),
    ],
)
def test_admin_port_takes_no_request_of_a_web_page(keyed, headers, status):
    address = next(entry["address"] for entry in keyed.log if entry["event"] == "admin listening")
    with Client(int(address.rpartition(":")[2])) as client:
        answer = client.ask("GET", "/admin/models", headers=[*bearer(keyed.keys["a"]), *headers])
        assert answer.status == status
        assert answer.code == (None if status == 200 else "NOT_PERMITTED")


def test_a_web_page_cannot_unload_a_model_through_an_admin_port_without_keys(tree_bundle, example):
    with serving(tree_bundle, options=["--admin", "127.0.0.1:0"]) as server:
        address = next(entry["address"] for entry in server.log if entry["event"] == "admin listening")
        with Client(int(address.rpartition(":")[2])) as client:
            page = ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"]
            assert client.ask("POST", "/admin/models/b/unload", headers=page).status == 403
        assert server.ask("POST", "/predict", example).status == 200


def test_admin_port_needs_an_admin_key(keyed):
    address = next(entry["address"] for entry in keyed.log if entry["event"] == "admin listening")
    port = int(address.rpartition(":")[2])
    for headers, status in (([], 401), (bearer(keyed.keys["both"]), 403), (bearer(keyed.keys["a"]), 200)):
        with Client(port) as client:
            assert client.ask("GET", "/admin/models", headers=headers).status == status
    assert keyed.ask("GET", "/admin/models", headers=bearer(keyed.keys["a"])).status == 404


def test_keys_are_taken_up_and_revoked_while_connections_go_on(keyed, example):
    status, new = mlrf_keys(keyed.file, "--add", "guest", "--scope", "predict")
    assert status == 0
    with keyed.client() as client:
        eventually(lambda: keyed.ask("POST", "/predict", example, bearer(new)).status == 200, what="the new key")
        for _ in range(5):
            assert client.ask("POST", "/predict", example, bearer(new)).status == 200
        assert len(keyed.keys) + 1 in [e["keys"] for e in keyed.log if e["event"] == "keys reloaded"]
        assert mlrf_keys(keyed.file, "--revoke", "guest")[0] == 0
        eventually(lambda: keyed.ask("POST", "/predict", example, bearer(new)).status == 401, what="the end of the key")
        assert client.ask("POST", "/predict", example, bearer(new)).status == 401, (
            "the same head, on the same connection"
        )
    assert keyed.ask("POST", "/predict", example, bearer(keyed.keys["p"])).status == 200


def test_a_busy_server_soon_refuses_a_key_that_was_revoked(keyed, example):
    status, new = mlrf_keys(keyed.file, "--add", "guest", "--scope", "predict")
    assert status == 0
    eventually(lambda: keyed.ask("POST", "/predict", example, bearer(new)).status == 200, what="the new key")
    stop = threading.Event()

    def keep_busy():
        burst = request("POST", "/predict", example, bearer(keyed.keys["p"])) * 200
        with keyed.client() as client:
            while not stop.is_set():
                client.send(burst)
                for _ in range(200):
                    client.answer()

    busy = [threading.Thread(target=keep_busy) for _ in range(2)]
    for thread in busy:
        thread.start()
    try:
        with keyed.client() as client:
            assert client.ask("POST", "/predict", example, bearer(new)).status == 200
            assert mlrf_keys(keyed.file, "--revoke", "guest")[0] == 0
            # Two seconds of requests fill the loop; the keys are looked at twice a second all the same.
            eventually(lambda: client.ask("POST", "/predict", example, bearer(new)).status == 401, what="the refusal")
    finally:
        stop.set()
        for thread in busy:
            thread.join(30)


def test_invalid_file_changes_nothing(keyed, example):
    sound = keyed.file.read_bytes()
    try:
        keyed.file.write_bytes(sound + b"nonsense\n")
        eventually(lambda: [e for e in keyed.log if e["event"] == "keys not read"], what="the complaint")
        assert keyed.ask("POST", "/predict", example, bearer(keyed.keys["p"])).status == 200
        keyed.file.unlink()
        time.sleep(0.7)
        assert keyed.ask("POST", "/predict", example, bearer(keyed.keys["p"])).status == 200
        assert keyed.ask("GET", "/models").status == 401
    finally:
        keyed.file.write_bytes(sound)
        keyed.file.chmod(0o600)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("me.secret\n", "line 1"),
        ("id abc predict me\n", "line 1"),
        ("# fine\nid " + "0" * 64 + " root me\n", "line 2"),
        (2 * ("id " + "0" * 64 + " predict me\n"), "line 2"),
        ("schlüssel\n", "ASCII"),
    ],
)
def test_server_does_not_start_with_invalid_keys(tree_bundle, tmp_path, content, why):
    (tmp_path / "keys").write_text(content, encoding="utf-8")
    status, output, _ = run_to_its_end([tree_bundle], "--port", "0", "--keys", str(tmp_path / "keys"))
    assert (status, why in output, "secret" in output) == (2, True, False)


def test_wrong_command_usage_is_reported(tmp_path):
    file = tmp_path / "k"
    assert mlrf_keys(file)[0] == 2
    assert mlrf_keys(file, "--add", "x")[0] == 2
    assert mlrf_keys(file, "--add", "x", "--scope", "root")[0] == 2
    assert mlrf_keys(file, "--add", "a b", "--scope", "predict")[0] == 2
    assert mlrf_keys(file, "--add", "x", "--scope", "predict")[0] == 0
    assert mlrf_keys(file, "--revoke", "y")[0] == 2


def test_a_server_that_all_can_reach_without_a_key_says_so(tree_bundle, tmp_path):
    with serving(tree_bundle, options=["--host", "0.0.0.0"]) as server:
        assert [entry["level"] for entry in server.log if entry["event"] == "reachable without a key"] == ["warning"]
    mlrf_keys(tmp_path / "k", "--add", "x", "--scope", "predict")
    with serving(tree_bundle, options=["--host", "0.0.0.0", "--keys", str(tmp_path / "k")]) as server:
        assert not [entry for entry in server.log if entry["event"] == "reachable without a key"]
    status, output, _ = run_to_its_end([tree_bundle], "--port", "0", "--admin", "0.0.0.0:0")
    assert (status, "--admin" in output) == (2, True)


# TLS


# Pages of other origins
