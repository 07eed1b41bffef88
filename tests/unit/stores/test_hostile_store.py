"""Web servers with what no publisher writes, or that answer without end: refused, and other models and stores are followed."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.manifest import MANIFEST
from mlrf.core.publishing import publish
from mlrf.core.repository import ModelDirectory
from mlrf.stores.address import may_redirect, parse_address
from mlrf.stores.mirror import Mirror
from mlrf.stores.open_store import open_reader
from mlrf.stores.time_limit import LimitedReader
from store_servers import file_server

ELSEWHERE = "http://192.0.2.1/models"
"""An address that is reserved for documentation: nothing answers there."""
EMPTY = {"sha256": hashlib.sha256(b"").hexdigest(), "size_bytes": 0}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("bundles") / "b", schema=NUMBERS)


def mirror_of(url, cache):
    address = parse_address(url)
    return Mirror(address, cache, lambda: open_reader(address, 5.0))


def forge(home, bundle, pointer=None, **files):
    """Publish a model before the others whose manifest lists other files, and point to it."""
    folder = home / "before" / "1"
    folder.mkdir(parents=True)
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    manifest["name"] = "before"
    manifest["files"] |= files
    raw = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(raw)
    pointed = {"number": 1, "digest": hashlib.sha256(raw).hexdigest()} | (pointer or {})
    (home / "before" / "current.json").write_text(json.dumps(pointed))
    (home / "index.json").write_text('{"models": ["before", "sample"]}')


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"forest.bin": EMPTY | {"size_bytes": -5}}, "size_bytes"),
        ({"a\0b": EMPTY}, "not a file name"),
        ({"../../escaped": EMPTY}, "not a file name"),
        ({"..": EMPTY}, "not a file name"),
        ({"": EMPTY}, "not a file name"),
        ({"model.sig": EMPTY}, "not a file name"),
        ({"x" * 200: EMPTY}, "not a file name"),
        ({"a?b": EMPTY}, "not a file name"),
        ({f"x{i}": EMPTY for i in range(200)}, "more than the 100"),
        ({"absent": EMPTY}, "missing in the store"),
    ],
    ids=["size", "nul", "parent", "dots", "empty", "signature", "long", "query", "many", "absent"],
)
def test_a_manifest_that_no_build_writes_is_refused(files, said, bundle, tmp_path):
    home = tmp_path / "home"
    publish(bundle, home)
    forge(home, bundle, **files)
    with file_server(home) as server:
        mirror = mirror_of(server.url, tmp_path / "cache")
        with pytest.raises((BundleError, RepositoryError), match=said):
            list(mirror.sync())
    directory = ModelDirectory(mirror.path / "sample")
    assert directory.read(directory.pointer().version).version == read_bundle(bundle).version
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("number", [0, -1, 10**9, 10**30])
def test_a_pointer_to_a_number_that_no_version_has_is_refused(number, bundle, tmp_path):
    home = tmp_path / "home"
    publish(bundle, home)
    forge(home, bundle, {"number": number})
    with file_server(home) as server, pytest.raises(BundleError, match="names no version"):
        list(mirror_of(server.url, tmp_path / "cache").sync())


def test_a_repository_of_too_many_models_is_refused(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "index.json").write_text(json.dumps({"models": [f"m{i}" for i in range(1001)]}))
    with file_server(home) as server, pytest.raises(RepositoryError, match="more than 1000 models"):
        list(mirror_of(server.url, tmp_path / "cache").sync())


class Trickle(http.server.BaseHTTPRequestHandler):
    """Answers 200 and then a byte now and then, until `ended`; or a redirect, if the server has one."""

    def do_GET(self) -> None:
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.ended.wait(0.02):
                self.wfile.write(b" ")
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slow_server(redirect: str = "") -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickle) as server:
        server.ended, server.redirect = threading.Event(), redirect
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/models"
        finally:
            server.ended.set()
            server.shutdown()


def test_an_answer_that_never_ends_is_given_up(tmp_path):
    with slow_server() as url, (tmp_path / "file").open("wb") as file:
        reader = LimitedReader(functools.partial(open_reader, parse_address(url), 60.0), url, 0.3)
        for ask in (
            lambda: reader.read("current.json", 1 << 20),
            lambda: reader.download("x", file, 1 << 10),
            reader.folders,
        ):
            with pytest.raises(RepositoryError, match="not complete within 0 s"):
                ask()


@pytest.mark.parametrize("target", [ELSEWHERE, "ftp://127.0.0.1/models", "file:///etc/passwd"])
def test_a_redirect_to_where_answers_can_be_replaced_is_refused(target):
    with slow_server(target) as url:
        reader = open_reader(parse_address(url), 60.0)
        with pytest.raises(RepositoryError, match=r"redirect|answered 302"):
            reader.read("current.json", 1 << 10)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Another service of this machine: keeps the paths that it is asked for."""

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_a_redirect_to_another_service_of_this_machine_is_refused(host):
    with http.server.ThreadingHTTPServer((host, 0), Elsewhere) as other:
        other.seen = []
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        with (
            slow_server(f"http://{host}:{other.server_port}/latest/meta-data") as url,
            pytest.raises(RepositoryError, match="a redirect to http is refused"),
        ):
            open_reader(parse_address(url), 5.0).read("current.json", 1 << 10)
        other.shutdown()
    assert other.seen == []


@pytest.mark.parametrize(
    ("address", "url", "may"),
    [
        ("https://models.example/a", "https://cdn.example/b", True),
        ("https://models.example/a", "http://models.example/a", False),
        ("https://models.example/a", "http://127.0.0.1:80/a", False),
        ("http://localhost:8080/a", "http://LOCALHOST:8080/b?x=http://c", True),
        ("http://localhost/a", "http://localhost:80/b", True),
        ("http://localhost:80/a", "http://localhost/b", True),
        ("http://localhost:8080/a", "https://cdn.example/b", True),
        ("http://localhost:8080/a", "http://localhost:8081/a", False),
        ("http://localhost:8080/a", "http://localhost/a", False),
        ("http://localhost:8080/a", "http://127.0.0.1:8080/a", False),
        ("http://127.0.0.1:8080/a", "http://127.0.0.2:8080/a", False),
        ("http://localhost:8080/a", "http://localhost:8080\\@evil.example/a", False),
        ("http://localhost:8080/a", "http://x@localhost:8080/a", False),
        ("http://localhost:8080/a", "http://localhost@evil.example/a", False),
        ("http://localhost:8080/a", "HTTP://evil.example/a", False),
        ("http://localhost:8080/a", "gopher://localhost/a", False),
    ],
)
def test_redirects_lead_where_nobody_can_replace_answers(address, url, may):
    assert may_redirect(parse_address(address), url) is may
