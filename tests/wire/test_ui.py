"""The page at /ui as a server sends it; what it does in a browser is in tests/browser."""

from __future__ import annotations

import gzip
import re

import pytest

from bundles import write_tree_bundle
from mlrf.workbench.files import CONTENT_TYPES, read_file
from running import serving

MOST_BYTES = 120_000
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("ui") / "b", name="b")


@pytest.fixture(scope="module")
def server(path, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.touch()
    with serving(path, options=["--keys", str(keys)]) as running:
        yield running


def test_page_needs_no_key_and_may_reach_its_server_alone(server):
    page = server.ask("GET", "/ui")
    assert (page.status, page.body) == (200, read_file("index.html"))
    assert server.ask("GET", "/models").status == 401
    for name, kind in CONTENT_TYPES.items():
        answer = server.ask("GET", f"/ui/{name}")
        assert (answer.status, answer.body) == (200, read_file(name))
        assert answer.headers["content-type"] == kind.decode()
        assert answer.headers["content-security-policy"].startswith(POLICY)
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_other_file_is_sent(server):
    for path in ("/ui/", "/ui/files.py", "/ui/../files.py", "/ui/page/app.js", "/ui/%2e%2e/files.py"):
        assert server.ask("GET", path).status in (401, 404)


def test_every_file_that_the_page_names_is_sent():
    named = set(re.findall(rb'(?:/ui/|"\./)([a-z-]+\.(?:js|css))"', b"".join(map(read_file, CONTENT_TYPES))))
    assert {name.decode() for name in named} == CONTENT_TYPES.keys() - {"index.html"}


def test_page_is_small_and_names_no_other_host():
    everything = b"".join(map(read_file, CONTENT_TYPES))
    assert len(gzip.compress(everything)) < MOST_BYTES
    assert set(re.findall(rb"https?://[^\"' ]+", everything)) == {b"http://www.w3.org/2000/svg"}
    assert b"innerHTML" not in everything, "what a bundle names enters the page as text"


def test_page_can_be_turned_off(path):
    with serving(path, options=["--ui", "off"]) as running:
        assert running.ask("GET", "/ui").status == 404
        assert running.ask("GET", "/ui/app.js").status == 404
        assert running.ask("GET", "/docs").status == 200
