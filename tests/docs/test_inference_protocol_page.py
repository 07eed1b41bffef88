"""docs/reference/inference-protocol.md: its commands run, on the README's model, with the clients that they name, and give the answers shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bundles import write_tree_bundle
from client_environment import PYTHON, needs_clients
from documents import ROOT, blocks, commands, shell
from grpc_peer import address_of
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.serving.auth.keys import make_key, write_keys
from raw_http import Client
from running import serving

PAGE = (ROOT / "docs/reference/inference-protocol.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOADING = PAGE.partition("\n## Loading and unloading\n")[2].partition("\n## ")[0]
KEPT = PAGE.replace(LOADING, "")


SCHEMA = Schema(
    (
        Feature("price", example=3.5),
        Feature("promo", Kind.BOOLEAN, example=True),
        Feature("store", Kind.CATEGORICAL, ("a", "b"), example="a"),
    )
)
"""Of the README's model."""
KEY = {"item": "integer", "day": "date"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a bundle like the README's, built quickly."""
    folder = tmp_path_factory.mktemp("protocol")
    write_tree_bundle(folder / "sales-bundle", name="sales", schema=SCHEMA, key=KEY)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The server that the page starts, on other ports, with the row that it looks up."""
    admin = folder / "admin.sock"
    options = ["--grpc-port", "0", "--state-dir", str(folder / "state"), "--admin", f"unix:{admin}"]
    row = {
        "key": {"item": 7, "day": "2026-01-31"},
        "features": SCHEMA.example() | {"price": 1.25},
        "as_of": "2026-01-30T18:00:00Z",
    }
    with serving(folder / "sales-bundle", options=options) as server:
        with Client(admin) as client:
            assert client.ask("POST", "/admin/models/sales/features", {"rows": [row]}).status == 200
        yield server
        assert server.troubles == []


def here(text, server):
    return text.replace("localhost:8080", f"127.0.0.1:{server.port}").replace("localhost:8081", address_of(server))


def test_the_command_that_starts_the_server_is_one_that_there_is():
    lines = [line for line in PAGE.split("`") if line.startswith("mlrf serve ")]
    assert lines
    for line in lines:
        options = [word for word in line.split() if word.startswith("--")]
        assert set(options) <= {"--grpc-port", "--port"}


def test_every_curl_line_is_answered(folder, server):
    lines = commands(KEPT, "curl")
    assert len(lines) >= 4
    for line in lines:
        done = shell(here(line, server) + " --fail", folder)
        assert done.returncode == 0, line
        assert json.loads(done.stdout), line


@needs_clients
@pytest.mark.parametrize("index", range(3))
def test_every_python_block_prints_what_the_native_api_answers(folder, server, index):
    code = blocks(PAGE, "python")
    assert len(code) == 3
    done = subprocess.run(
        [PYTHON, "-c", here(code[index], server)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [{"features": [3.5, True, 0]}, {"features": [None, False, 1]}]
    expected = server.ask("POST", "/predict/batch", {"instances": rows}).json["predictions"]
    by_key = server.ask("POST", "/predict", {"key": {"item": 7, "day": "2026-01-31"}}).json
    if index == 2:
        assert str(by_key["prediction"]) in done.stdout
        assert by_key["features_as_of"] in done.stdout
    else:
        shown = [float(number) for number in done.stdout.partition("]")[0].strip("[").split()]
        assert shown == pytest.approx(expected)


def test_documented_load_and_unload_lines_work(folder, tmp_path):
    key, line = make_key("me", ["admin"])
    write_keys(tmp_path / "keys", {line.id: line})
    published = shell(f"mlrf publish {folder}/sales-bundle models", tmp_path)
    assert published.returncode == 0, published.stderr
    options = ["--keys", str(tmp_path / "keys"), "--state-dir", str(tmp_path / "state"), "--grpc-port", "0"]
    (block,) = blocks(LOADING, "")
    lines = block.splitlines()
    assert len(lines) == 4
    with serving(tmp_path / "models", options=options) as server:
        for number, each in enumerate(lines):
            if each.startswith("curl"):
                done = shell(here(each, server) + " --fail-with-body", tmp_path, ADMIN_KEY=key)
                assert done.returncode == 0, done.stdout
            else:
                assert json.loads(done.stdout) == json.loads(each), lines[number - 1]
        assert server.ask("GET", "/v2/models/sales/ready", headers=[f"Authorization: Bearer {key}"]).status == 200


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")
def test_every_grpcurl_line_is_answered(folder, server):
    lines = commands(PAGE, "grpcurl")
    assert len(lines) >= 3
    for line in lines:
        done = shell(here(line, server), folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout, line


def test_the_readme_leads_here_and_has_the_same_model():
    assert "(docs/reference/inference-protocol.md)" in README
    for name in (*SCHEMA.names, *KEY):
        assert re.search(rf"\bframe\.{name}\b|frame\[.*\"{name}\"|\"{name}\":", README)
    [build] = [line for line in commands(README, "mlrf") if "--features" in line]
    assert "--key item,day" in build
    assert "--name sales" in build


def test_every_file_that_the_page_points_to_is_there():
    for target in ("server.md",):
        assert f"]({target}" in PAGE
        assert (ROOT / "docs/reference" / target).exists()
    assert (Path(ROOT) / "src/mlrf/serving/oip/grpc").is_dir()
