"""The page at /ui as a server sends it; what it does in a browser is in tests/browser."""

from __future__ import annotations

import pytest

from bundles import write_tree_bundle
from mlrf.workbench.files import CONTENT_TYPES, read_file
from running import serving

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


def test_page_can_be_turned_off(path):
    with serving(path, options=["--ui", "off"]) as running:
        assert running.ask("GET", "/ui").status == 404
        assert running.ask("GET", "/ui/app.js").status == 404
        assert running.ask("GET", "/docs").status == 200
