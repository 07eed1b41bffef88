"""TLS: certificates that are reloaded, certificates of clients, and options that do not match."""

from __future__ import annotations

import signal
import socket
import ssl
import time

import pytest

from certificates import TlsClient, make_certificate, n_booted, trusting
from raw_http import Client, request
from running import eventually, run_to_its_end, serving


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
def serving_tls(tree_bundle, folder):
    def start(*more):
        return serving(tree_bundle, options=[*tls_options(folder, *more), "--log-level", "debug"], is_ready=n_booted)

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
def test_what_does_not_fit_ends_the_start(tree_bundle, folder, options):
    status, output, _ = run_to_its_end([tree_bundle], "--port", "0", *(each.format(f=folder) for each in options))
    assert (status, options[0][:6] in output, "Traceback" in output) == (2, True, False)
