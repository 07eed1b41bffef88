"""Keys and their scopes, TLS, and pages of other origins."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import signal
import socket
import ssl
import threading
import time

import pytest

from bundles import write_tree_bundle
from certificates import TlsClient, make_certificate, n_booted, trusting
from mlrf.cli.app import run
from mlrf.core.errors import ConfigError
from raw_http import Client, request
from running import eventually, run_to_its_end, serving


def mlrf_keys(*arguments):
    """Run the command in this process, which has imported its modules; return its status and output."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            status = run(["keys", *map(str, arguments)])
    except ConfigError:
        status = 2
    return status, output.getvalue().strip()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("access") / "b", name="b")


@pytest.fixture(scope="module")
def example(path):
    with serving(path) as server:
        document = server.ask("GET", "/openapi.json").json
    return document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]


@pytest.fixture(scope="module")
def keyed(path, tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys = {}
    for name, scopes in (("p", ["predict"]), ("e", ["explain"]), ("both", ["predict", "explain"]), ("a", ["admin"])):
        status, keys[name] = mlrf_keys(file, "--add", name, *(part for s in scopes for part in ("--scope", s)))
        assert status == 0
    with serving(path, options=["--keys", str(file), "--admin", "127.0.0.1:0"]) as server:
        server.file, server.keys = file, keys
        yield server


def bearer(key):
    return [f"Authorization: Bearer {key}"]


def test_the_file_holds_no_key_and_only_its_owner_may_read_it(keyed):
    text = keyed.file.read_text()
    assert all(key not in text and key.partition(".")[2] not in text for key in keyed.keys.values())
    assert keyed.file.stat().st_mode & 0o777 == 0o600
    status, output = mlrf_keys(keyed.file)
    assert (status, len(output.splitlines())) == (0, 4)


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("p", {"/predict", "/predict/batch"}),
        ("e", {"/explain"}),
        ("both", {"/predict", "/predict/batch", "/explain"}),
        ("a", set()),
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
    part = keyed.ask("GET", "/docs/models", headers=bearer(keyed.keys["p"])).body.decode()
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
def test_server_does_not_start_with_invalid_keys(path, tmp_path, content, why):
    (tmp_path / "keys").write_text(content, encoding="utf-8")
    status, output, _ = run_to_its_end([path], "--port", "0", "--keys", str(tmp_path / "keys"))
    assert (status, why in output, "secret" in output) == (2, True, False)


def test_wrong_command_usage_is_reported(tmp_path):
    file = tmp_path / "k"
    assert mlrf_keys(file)[0] == 2
    assert mlrf_keys(file, "--add", "x")[0] == 2
    assert mlrf_keys(file, "--add", "x", "--scope", "root")[0] == 2
    assert mlrf_keys(file, "--add", "a b", "--scope", "predict")[0] == 2
    assert mlrf_keys(file, "--add", "x", "--scope", "predict")[0] == 0
    assert mlrf_keys(file, "--revoke", "y")[0] == 2


def test_a_server_that_all_can_reach_without_a_key_says_so(path, tmp_path):
    with serving(path, options=["--host", "0.0.0.0"]) as server:
        assert [entry["level"] for entry in server.log if entry["event"] == "reachable without a key"] == ["warning"]
    mlrf_keys(tmp_path / "k", "--add", "x", "--scope", "predict")
    with serving(path, options=["--host", "0.0.0.0", "--keys", str(tmp_path / "k")]) as server:
        assert not [entry for entry in server.log if entry["event"] == "reachable without a key"]
    status, output, _ = run_to_its_end([path], "--port", "0", "--admin", "0.0.0.0:0")
    assert (status, "--admin" in output) == (2, True)


# TLS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    for name in ("first", "second", "ca", "stranger"):
        make_certificate(folder, name)
    make_certificate(folder, "client", signed_by="ca")
    (folder / "cert.pem").write_bytes((folder / "first.pem").read_bytes())
    (folder / "cert.key").write_bytes((folder / "first.key").read_bytes())
    return folder


def tls_options(folder, *more):
    return ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "cert.key"), *more]


@pytest.fixture
def serving_tls(path, folder):
    def start(*more):
        return serving(path, options=[*tls_options(folder, *more), "--log-level", "debug"], is_ready=n_booted)

    return start


def test_tls_answers_are_equal_and_complete(serving_tls, folder, example):
    with serving_tls() as server, TlsClient(server.port, trusting(folder, "first")) as client:
        assert next(e["url"] for e in server.log if e["event"] == "listening").startswith("https://")
        assert client.socket.version() in ("TLSv1.2", "TLSv1.3")
        assert client.ask("POST", "/predict", example).status == 200
        whole = len(client.ask("GET", "/openapi.json").body)
        n = (4 << 20) // whole
        client.send(request("GET", "/openapi.json") * n)
        time.sleep(0.2)
        assert all(len(client.answer().body) == whole for _ in range(n))
        client.send(request("POST", "/predict", example) * 50)
        assert {client.answer().status for _ in range(50)} == {200}
        client.send(b"GARBAGE\r\n\r\n")
        assert client.answer().status == 400
        with Client(server.port) as plain:
            plain.send(request("GET", "/healthz"))
            assert b"200" not in plain.rest()


def test_new_certificate_is_used_and_a_mismatched_one_is_not(serving_tls, folder):
    with serving_tls() as server, TlsClient(server.port, trusting(folder, "first")) as old:
        (folder / "cert.key").write_bytes((folder / "second.key").read_bytes())
        eventually(lambda: [e for e in server.log if e["event"] == "certificates not read"], what="the complaint")
        with TlsClient(server.port, trusting(folder, "first")) as client:
            assert client.ask("GET", "/healthz").status == 200
        (folder / "cert.pem").write_bytes((folder / "second.pem").read_bytes())

        def is_second():
            try:
                with TlsClient(server.port, trusting(folder, "second")) as client:
                    return client.ask("GET", "/healthz").status == 200
            except ssl.SSLError:
                return False

        try:
            eventually(is_second, what="the second certificate")
            assert old.ask("GET", "/healthz").status == 200
        finally:
            (folder / "cert.pem").write_bytes((folder / "first.pem").read_bytes())
            (folder / "cert.key").write_bytes((folder / "first.key").read_bytes())


def test_clients_send_a_certificate_if_required(serving_tls, folder):
    with serving_tls("--tls-client-ca", str(folder / "ca.pem")) as server:
        with TlsClient(server.port, trusting(folder, "first", shown="client")) as client:
            assert client.ask("GET", "/healthz").status == 200
        for shown in (None, "stranger"):
            with (
                pytest.raises((ssl.SSLError, OSError, EOFError)),
                TlsClient(server.port, trusting(folder, "first", shown=shown)) as client,
            ):
                client.ask("GET", "/healthz")


@pytest.mark.parametrize("way", ["file", "SIGHUP"])
def test_removed_authority_ends_session_resumption(serving_tls, folder, tmp_path, way):
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes((folder / "ca.pem").read_bytes())
    context = trusting(folder, "first", shown="client")
    if way == "SIGHUP":
        # Whose sessions the server itself keeps, for as long as its workers live.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving_tls("--tls-client-ca", str(authorities)) as server:
        with TlsClient(server.port, context) as client:
            assert client.ask("GET", "/healthz").status == 200
            session = client.socket.session
        authorities.write_bytes((folder / "stranger.pem").read_bytes())
        eventually(lambda: [e for e in server.log if e["event"] == "certificates reloaded"], what="the change")
        if way == "SIGHUP":
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: [e for e in server.log if e["event"] == "settings in force"], what="new workers")
        else:
            eventually(lambda: not _is_let_in(server, trusting(folder, "first", shown="client")), what="the refusal")
        assert not _is_let_in(server, context, session)


def _is_let_in(server, context, session=None):
    try:
        with TlsClient(server.port, context, session=session) as client:
            return client.ask("GET", "/healthz").status == 200
    except (OSError, EOFError):
        return False


def test_a_handshake_that_never_comes_ends(serving_tls):
    with serving_tls("--header-timeout", "1") as server, socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.settimeout(60)
        assert silent.recv(1) == b""


@pytest.mark.parametrize(
    "options",
    [["--tls-cert", "{f}/first.pem"], ["--tls-key", "{f}/first.key"], ["--tls-client-ca", "{f}/ca.pem"],
     ["--tls-cert", "{f}/first.pem", "--tls-key", "{f}/second.key"], ["--tls-cert", "{f}/none", "--tls-key", "{f}/first.key"],
     ["--cors-origin", "app.example"], ["--cors-origin", "https://app.example/x"], ["--cors-origin", "null"]],
)  # fmt: skip
def test_what_does_not_fit_ends_the_start(path, folder, options):
    status, output, _ = run_to_its_end([path], "--port", "0", *(each.format(f=folder) for each in options))
    assert (status, options[0][:6] in output, "Traceback" in output) == (2, True, False)


# Pages of other origins

PREFLIGHT = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"]


def test_no_origin_may_read_unless_it_is_named(path):
    with serving(path) as server:
        answer = server.ask("OPTIONS", "/predict", headers=["Origin: https://a.example", *PREFLIGHT])
        assert answer.status == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("length", ["Content-Length: 104857600", "Content-Length: 1", "Transfer-Encoding: chunked"])
def test_a_preflight_with_a_body_is_refused_by_its_head(path, length):
    origin = "https://a.example"
    with serving(path, options=["--cors-origin", origin]) as server, server.client() as client:
        lines = "\r\n".join(["OPTIONS /predict HTTP/1.1", "Host: a", f"Origin: {origin}", *PREFLIGHT, length])
        client.send(f"{lines}\r\n\r\n".encode())
        answer = client.answer()
        assert (answer.status, answer.code, answer.headers["connection"]) == (413, "BODY_TOO_LARGE", "close")
        allowed = server.ask("OPTIONS", "/predict", headers=[f"Origin: {origin}", *PREFLIGHT, "Content-Length: 0"])
        assert allowed.status == 200


def test_allowed_origins_can_read_refusals_too(path, tmp_path, example):
    _, key = mlrf_keys(tmp_path / "k", "--add", "x", "--scope", "predict")
    options = [
        "--cors-origin",
        "https://a.example",
        "--cors-origin",
        "http://localhost:3000",
        "--keys",
        str(tmp_path / "k"),
    ]
    with serving(path, options=options) as server, server.client() as client:
        for origin in ("https://a.example", "http://localhost:3000"):
            leave = client.ask("OPTIONS", "/predict", headers=[f"Origin: {origin}", *PREFLIGHT])
            assert (leave.status, leave.body, leave.headers["access-control-allow-origin"]) == (200, b"", origin)
            assert "POST" in leave.headers["access-control-allow-methods"]
            assert "Authorization" in leave.headers["access-control-allow-headers"]
            answer = client.ask("POST", "/predict", example, [f"Origin: {origin}", *bearer(key)])
            assert (answer.status, answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (
                200,
                origin,
                "Origin",
            )
            assert "access-control-allow-credentials" not in answer.headers
            assert (
                client.ask("POST", "/predict", {}, [f"Origin: {origin}", *bearer(key)]).headers[
                    "access-control-allow-origin"
                ]
                == origin
            )
            refused = server.ask("POST", "/predict", example, [f"Origin: {origin}"])
            assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, origin)
        for origin in ("https://b.example", "https://a.example.evil", "null", "https://A.example"):
            answer = client.ask("POST", "/predict", example, [f"Origin: {origin}", *bearer(key)])
            assert (answer.status, answer.headers["vary"], "access-control-allow-origin" in answer.headers) == (
                200,
                "Origin",
                False,
            )
        assert server.ask("OPTIONS", "/predict", headers=["Origin: https://b.example", *PREFLIGHT]).status == 401
        assert server.ask("OPTIONS", "/predict", headers=["Origin: https://a.example", *bearer(key)]).status == 405
