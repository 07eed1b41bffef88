"""A registry that answers what no registry should: refused as RepositoryError, within the limit of what is read."""

from __future__ import annotations

import gzip
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("oras")

from bundles import NUMBERS, write_tree_bundle
from certificates import make_certificate
from mlrf.core.errors import RepositoryError
from mlrf.stores.address import parse_address
from mlrf.stores.oci import OciStore
from mlrf.stores.oci_publishing import publish_to_registry
from registries import log_in

LIMIT_BYTES = 1 << 16
LONG = b"x" * (64 << 20)
TITLE = "org.opencontainers.image.title"


def manifest(**layer: object) -> bytes:
    layer = {"digest": f"sha256:{hashlib.sha256(b'').hexdigest()}", "size": 0, "annotations": {TITLE: "a"}} | layer
    return json.dumps({"schemaVersion": 2, "layers": [layer]}).encode()


class Registry(BaseHTTPRequestHandler):
    """Answers the server's `artefact` to requests for a manifest, and its `blob` to others, and counts what it sent.

    With a `location` it redirects there, with the blob as the body; with a `realm` it asks for a token from there.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets: the second waited 40 ms for an acknowledgement

    def do_GET(self) -> None:
        body = self.server.artefact if "/manifests/" in self.path else self.server.blob
        if self.server.realm and not self.path.startswith("/token"):
            body = b""
            self.send_response(401)
            self.send_header("Www-Authenticate", f'Bearer realm="{self.server.realm}",service="r"')
        elif self.server.location:
            body = self.server.blob
            self.send_response(307)
            self.send_header("Location", self.server.location)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if body.startswith(b"\x1f\x8b"):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        try:
            for start in range(0, len(body), LIMIT_BYTES):
                self.server.n_sent += self.wfile.write(body[start : start + LIMIT_BYTES])
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        server.daemon_threads, server.artefact, server.blob, server.n_sent = True, manifest(), b"", 0
        server.location = server.realm = ""
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def store_of(registry: ThreadingHTTPServer, name: str = "a:b") -> OciStore:
    return OciStore(parse_address(f"oci://127.0.0.1:{registry.server_address[1]}/team/{name}"), 5.0)


@pytest.mark.parametrize(
    "artefact",
    [b"", b"{", b"[]", b"null", b'{"layers": 1}', b'{"layers": [1]}', b'{"layers": [{"annotations": {}}]}', b"\xff",
     manifest(annotations=3), manifest(digest=7), manifest(annotations={TITLE: []}), b"[" * 100_000],
)  # fmt: skip
def test_a_manifest_of_another_form_is_refused(registry, artefact):
    registry.artefact = artefact
    with pytest.raises(RepositoryError):
        store_of(registry)


def test_an_artefact_of_another_digest_than_the_address_is_refused(registry):
    name = f"a@sha256:{hashlib.sha256(registry.artefact).hexdigest()}"
    assert store_of(registry, name)
    registry.artefact += b" "
    with pytest.raises(RepositoryError, match="the registry sent an artefact with another digest"):
        store_of(registry, name)


def test_a_layer_without_a_title_is_no_file(registry):
    registry.artefact = manifest(annotations=None)
    with pytest.raises(FileNotFoundError):
        store_of(registry).read("a", LIMIT_BYTES)


@pytest.mark.parametrize("is_compressed", [False, True], ids=["long", "gzip"])
def test_a_layer_longer_than_stated_is_not_read_to_its_end(registry, is_compressed):
    blob = gzip.compress(LONG) if is_compressed else LONG
    store = store_of(registry)
    registry.blob = blob
    with pytest.raises(RepositoryError, match="more than 65536 bytes"):
        store.read("a", LIMIT_BYTES)
    assert registry.n_sent < len(LONG) // 2


def test_a_manifest_without_end_is_not_read_to_its_end(registry):
    registry.artefact = LONG
    with pytest.raises(RepositoryError, match="more than"):
        store_of(registry)
    assert registry.n_sent < len(LONG) // 2


def test_a_redirect_to_where_answers_can_be_replaced_is_refused(registry):
    registry.location = "http://192.0.2.1/v2/team/a/manifests/b"
    with pytest.raises(RepositoryError, match="a redirect to http is refused"):
        store_of(registry)


def test_the_body_of_a_redirect_is_not_read_to_its_end(registry):
    registry.location, registry.blob = "/v2/team/a/manifests/b", LONG
    with pytest.raises(RepositoryError, match="more than"):
        store_of(registry)
    assert registry.n_sent < len(LONG) // 2


def test_a_token_without_end_is_not_read_to_its_end(registry):
    registry.realm, registry.blob = f"http://127.0.0.1:{registry.server_address[1]}/token", LONG
    with pytest.raises(RepositoryError, match="more than"):
        store_of(registry)
    assert registry.n_sent < len(LONG) // 2


def test_no_credentials_are_sent_to_where_anyone_can_read_them(registry):
    registry.realm = "http://192.0.2.1/token"
    with pytest.raises(RepositoryError, match="a redirect to http is refused"):
        store_of(registry)


class Uploads(BaseHTTPRequestHandler):
    """A registry that asks for a password, has nothing, and sends uploads to its `location`; it keeps what it was sent.

    With `sends_downloads` it redirects requests for what it has there too.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets: the second waited 40 ms for an acknowledgement

    def answer(self, status: int, **headers: str) -> None:
        self.server.seen.append((self.command, self.headers.get("Authorization")))
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Authorization") is None and self.server.location:
            status, headers = 401, {"Www-Authenticate": 'Basic realm="r"'}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        if self.server.sends_downloads:
            self.answer(307, Location=self.server.location)
        else:
            self.answer(404)

    def do_HEAD(self) -> None:
        self.answer(404)

    def do_POST(self) -> None:
        self.answer(202, Location=self.server.location)

    def do_PUT(self) -> None:
        self.answer(201)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Iterator[Callable[[str], ThreadingHTTPServer]]:
    """Start servers of uploads; the password of each is known."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with ExitStack() as stack:

        def start(location: str = "", *, with_tls: bool = False) -> ThreadingHTTPServer:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Uploads))
            server.daemon_threads, server.location, server.seen = True, location, []
            server.sends_downloads = False
            if with_tls:
                cert, key = make_certificate(tmp_path, "elsewhere")
                monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(cert, key)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            stack.callback(server.shutdown)
            log_in(tmp_path, f"127.0.0.1:{server.server_address[1]}")
            return server

        yield start


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("bundles") / "b", schema=NUMBERS, n_trees=2)


def publish_to(registry: ThreadingHTTPServer, bundle: Path) -> None:
    publish_to_registry(bundle, parse_address(f"oci://127.0.0.1:{registry.server_address[1]}/team/a:b"), 5.0)


def test_an_upload_sent_elsewhere_takes_no_password_along(uploads, bundle):
    elsewhere = uploads(with_tls=True)
    registry = uploads(f"https://127.0.0.1:{elsewhere.server_address[1]}/upload")
    with pytest.raises(RepositoryError, match="the registry does not answer with what was published"):
        publish_to(registry, bundle)
    assert {(command, authorization) for command, authorization in elsewhere.seen} == {("PUT", None)}
    assert {authorization is not None for command, authorization in registry.seen if command == "POST"} == {True}


def test_a_download_sent_elsewhere_takes_no_password_along(uploads):
    elsewhere = uploads(with_tls=True)
    registry = uploads(f"https://127.0.0.1:{elsewhere.server_address[1]}/blob")
    registry.sends_downloads = True
    with pytest.raises(RepositoryError, match="there is no such artefact"):
        store_of(registry)
    assert [authorization is None for _, authorization in registry.seen] == [True, False]
    assert elsewhere.seen == [("GET", None)]


def test_an_upload_to_another_service_of_this_machine_is_refused(uploads, bundle):
    elsewhere = uploads()
    registry = uploads(f"http://127.0.0.1:{elsewhere.server_address[1]}/upload")
    with pytest.raises(RepositoryError, match="a redirect to http is refused"):
        publish_to(registry, bundle)
    assert elsewhere.seen == []


@pytest.mark.parametrize("location", ["http://192.0.2.1/upload", "file:///etc/passwd", "//192.0.2.1/upload"])
def test_an_upload_to_where_anyone_can_read_it_is_refused(uploads, bundle, location):
    registry = uploads(location)
    with pytest.raises(RepositoryError, match=r"a redirect to http is refused|No connection adapters"):
        publish_to(registry, bundle)
    assert "PUT" not in [command for command, _ in registry.seen]
