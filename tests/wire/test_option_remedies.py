"""Each HTTP error that advises an option of the server or of the build: a server started as advised answers the same request."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from arrow_streams import stream
from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from raw_http import Answer, Client
from running import serving

ROW = dict(zip(NUMBERS.names, [1.0, 2.0, 3.0], strict=True))
PREDICT, BATCH, PUSH = "/predict", "/predict/batch", "/admin/models/sales/features"
ARROW, CSV = "Content-Type: application/vnd.apache.arrow.stream", "Content-Type: text/csv"
FOUR = [{"features": ROW}] * 4
KEYED = {"key": {"id": 1}}
Request = tuple[str, Any, str]


def arrow(n: int, **more: float) -> bytes:
    return stream(pa.Table.from_pylist([ROW | more] * n))


SAME: dict[str, Request] = {
    "is not a feature of the model; drop it, or start the server with --unknown-features": (
        BATCH,
        arrow(1, x=1.0),
        ARROW,
    ),
    "the stream holds 4 rows or more": (BATCH, arrow(4), ARROW),
    "the batch contains 4 instances": (BATCH, {"instances": FOUR}, "A: b"),
    "the batch contains about": (BATCH, {"instances": FOUR * 500}, "A: b"),
    'send "features", or build the bundle with --features and --key': (PREDICT, KEYED, "A: b"),
    "the CSV needs a header with exactly the feature names": ("/invocations", b"1,2,3\n", CSV),
}
"""By message: the request that the plain server refuses and the advised one answers."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    bundle = write_tree_bundle(folder / "sales", name="sales", schema=NUMBERS)
    options = ["--max-batch", "2", "--admin", f"unix:{folder / 'admin.sock'}"]
    with serving(bundle, options=options) as server:
        yield SimpleNamespace(server=server, admin=folder / "admin.sock")


@pytest.fixture(scope="module")
def advised(tmp_path_factory):
    """With rows by key, and with every option that a message advises."""
    folder = tmp_path_factory.mktemp("advised")
    bundle = write_tree_bundle(folder / "sales", name="sales", schema=NUMBERS, key={"id": "integer"})
    options = ["--max-batch", "2000", "--unknown-features", "ignore", "--platform", "sagemaker"]
    paths = ["--admin", f"unix:{folder / 'admin.sock'}", "--state-dir", str(folder / "state")]
    with serving(bundle, options=[*options, *paths]) as server:
        yield SimpleNamespace(server=server, admin=folder / "admin.sock")


def push(socket: Any) -> Answer:
    with Client(socket) as client:
        return client.ask("POST", PUSH, {"rows": [KEYED | {"features": ROW}]})


def refusal(answer: Answer) -> str:
    assert 400 <= answer.status < 500, answer.body
    return str(answer.json["error"])


@pytest.mark.parametrize("message", SAME)
def test_a_server_with_the_advised_option_answers(plain, advised, message):
    path, body, header = SAME[message]
    assert message in refusal(plain.server.ask("POST", path, body, [header]))
    assert push(advised.admin).status == 200
    answer = advised.server.ask("POST", path, body, [header])
    assert answer.status == 200, answer.body


def test_a_bundle_built_with_rows_takes_a_push(plain, advised):
    assert "build its bundle with --features and --key" in refusal(push(plain.admin))
    assert push(advised.admin).status == 200


def test_admin_requests_are_answered_at_the_address_advised(plain):
    load = "/v2/repository/models/sales/load"
    assert "but the server has no keys" in refusal(plain.server.ask("POST", load, {}))
    with Client(plain.admin) as client:
        assert client.ask("POST", load, {}).status == 200


def test_without_a_default_a_model_is_named_or_made_it(tmp_path):
    bundles = [write_tree_bundle(tmp_path / name, name=name, schema=NUMBERS) for name in ("a", "b")]
    body = {"instances": [list(ROW.values())]}
    with serving(*bundles) as server:
        message = refusal(server.ask("POST", "/invocations", body))
        found = re.search(r"send the request to (\S+), or start the server with (--default) (\w+)", message)
        assert found is not None, message
        assert server.ask("POST", found[1], body).status == 200
    with serving(*bundles, options=[found[2], found[3]]) as server:
        assert server.ask("POST", "/invocations", body).status == 200


def test_an_unknown_version_of_a_bundle_is_loaded_once_published(plain, tmp_path):
    load = "/admin/models/sales/load"
    with Client(plain.admin) as client:
        message = refusal(client.ask("POST", load, {"version": 2}))
    assert "publish it to a repository with `mlrf publish` and serve that" in message
    for seed in (1, 2):
        bundle = write_tree_bundle(tmp_path / str(seed), name="sales", schema=NUMBERS, seed=seed)
        assert main(["publish", str(bundle), str(tmp_path / "models")]) == 0
    socket = tmp_path / "admin.sock"
    with serving(tmp_path / "models", options=["--admin", f"unix:{socket}"]), Client(socket) as client:
        assert client.ask("POST", load, {"version": 2}).status == 200
